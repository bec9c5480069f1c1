import type { Authorizer } from "../core/ports.ts";
import type { PolicyAuthorizer } from "./cedar.ts";

/** An authorizer that is loaded when it is first needed. Until then it decides nothing, so nothing is allowed. */
export interface DeferredAuthorizer extends Authorizer {
  /** Loads it, once. Throws what the loading throws, and tries again on the next call. */
  ready(): Promise<PolicyAuthorizer>;
}

/**
 * Most commands decide nothing: they need no policies, and must work while those are broken. Above all
 * `leasehold freeze`. Whoever serves agents calls `ready` first, and does not start when it throws.
 */
export function deferAuthorizer(load: () => Promise<PolicyAuthorizer>): DeferredAuthorizer {
  let loading: Promise<PolicyAuthorizer> | undefined;
  let loaded: PolicyAuthorizer | undefined;

  function inForce(): PolicyAuthorizer {
    if (!loaded) throw new Error("the policies are not loaded yet");
    return loaded;
  }

  return {
    get bundle() {
      return inForce().bundle;
    },
    decide: (question) => inForce().decide(question),
    couldEver: (agent, action, entry) => inForce().couldEver(agent, action, entry),

    async ready() {
      loading ??= load();
      try {
        loaded = await loading;
        return loaded;
      } catch (problem) {
        loading = undefined;
        throw problem;
      }
    },
  };
}
