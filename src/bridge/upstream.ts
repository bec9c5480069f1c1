import * as oauth from "oauth4webapi";
import type { Access } from "./access.ts";
import { isPlain } from "./address.ts";
import { challengeOf } from "./challenge.ts";
import type { Credential } from "./exchange.ts";
import { BridgeProblem, unreachable } from "./problem.ts";
import type { Fetch } from "./web.ts";
import { discard } from "./web.ts";

interface UpstreamRequest {
  readonly method: "POST" | "GET" | "DELETE";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** The broker's MCP endpoint, as whoever `access` is. */
export interface Upstream {
  /** Answers with whatever the broker answers once who we are is settled. Throws `BridgeProblem`, or the reason of the signal. */
  send(request: UpstreamRequest, signal: AbortSignal): Promise<Response>;
}

export function createUpstream(parts: { readonly server: URL; readonly access: Access; readonly fetch: Fetch }): Upstream {
  const { server, access, fetch } = parts;

  async function once(request: UpstreamRequest, credential: Credential | undefined, signal: AbortSignal): Promise<Response> {
    const { method, headers, body } = request;
    try {
      if (!credential)
        return await fetch(server.href, { method, headers, redirect: "manual", signal, ...(body === undefined ? {} : { body }) });
      return await oauth.protectedResourceRequest(credential.token, method, server, new Headers(headers), body ?? null, {
        [oauth.customFetch]: fetch,
        [oauth.allowInsecureRequests]: isPlain(server),
        signal,
        ...(credential.proofs ? { DPoP: credential.proofs } : {}),
      });
    } catch (thrown) {
      if (thrown instanceof oauth.WWWAuthenticateChallengeError) return thrown.response;
      if (signal.aborted) throw signal.reason;
      throw unreachable(server.origin, thrown);
    }
  }

  return {
    async send(request, signal) {
      let credential = await unlessAborted(access.current(), signal);
      const done = { nonce: false, renewed: false, widened: false };
      for (;;) {
        const response = await once(request, credential, signal);
        if (response.status !== 401 && response.status !== 403) return response;
        const challenge = challengeOf(response);
        if (challenge.error === "use_dpop_nonce" && !done.nonce) {
          // The nonce was taken from the answer: the next proof has it (RFC 9449 section 9).
          done.nonce = true;
          await discard(response);
        } else if (request.method === "DELETE") {
          // Nobody is asked to sign in so that a session can be ended.
          return response;
        } else if (response.status === 401) {
          await discard(response);
          if (done.renewed) throw refused(server, challenge.error);
          done.renewed = true;
          credential = await unlessAborted(access.renew(credential, challenge), signal);
        } else {
          if (challenge.error !== "insufficient_scope" || done.widened || !credential) return response;
          done.widened = true;
          await discard(response);
          credential = await unlessAborted(access.widen(challenge), signal);
        }
      }
    },
  };
}

function refused(server: URL, error: string | undefined): BridgeProblem {
  if (error === "invalid_dpop_proof")
    return new BridgeProblem("refused", "the broker does not accept the proof of our key", { fix: "Is the clock of this machine right?" });
  return new BridgeProblem("refused", "the broker refuses the token that it has just given", {
    fix: `Its operator can say why. To sign in anew, run: leasehold login --server ${server.href}`,
  });
}

/** Stops waiting, while what is waited for goes on: others wait for it, too. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
