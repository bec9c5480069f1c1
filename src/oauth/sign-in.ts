import { Failure } from "../core/errors.ts";
import { networkOf } from "../core/network.ts";
import type { Account } from "../identity/directory.ts";
import type { Outcome, Users } from "../identity/users.ts";
import type { Passkeys } from "./passkey.ts";
import type { Form } from "./people-request.ts";
import type { SignInRefusal } from "./sign-in-throttle.ts";
import { createRefusals, createThrottle } from "./sign-in-throttle.ts";

type SignedIn = { readonly account: Account } | Refused;

interface Refused {
  readonly account?: undefined;
  readonly status: number;
  /** For the person: the same for all that could be wrong. */
  readonly error: string;
  /** Seconds. */
  readonly retryAfter?: number;
}

/** How people prove who they are, however they came here. */
export interface SignIn {
  password(form: Form, ip: string): Promise<SignedIn>;
  /** `bound` is what the challenge was made for. */
  passkey(form: Form, bound: string, ip: string): Promise<SignedIn>;
  /** Counts a refusal that was found elsewhere. */
  refused(why: string, user?: string): void;
  flush(): void;
}

export interface SignInParts {
  readonly users: Users;
  readonly passkeys: Passkeys | undefined;
  readonly report: (refusal: SignInRefusal) => void;
  readonly now: () => number;
}

const wrong: Refused = {
  status: 401,
  error: "That is not right. Check your name, your password and, if you use one, the code of your app.",
};
const wrongPasskey: Refused = { status: 401, error: "This passkey does not open an account here." };

export function createSignIn({ users, passkeys, report, now }: SignInParts): SignIn {
  const byName = createThrottle({ free: 5, longest: 60, now });
  const byAddress = createThrottle({ free: 20, longest: 60, now });
  const refusals = createRefusals(report);

  function later(seconds: number): Refused {
    return { status: 429, error: `Too many attempts. Wait ${seconds} s, or use a passkey.`, retryAfter: seconds };
  }

  function judge(outcome: Outcome, refusal: Refused): SignedIn {
    if (outcome.account) return { account: outcome.account };
    refusals.note(outcome.why, outcome.user);
    return refusal;
  }

  return {
    async password(form, ip) {
      const name = form.get("name").trim().toLowerCase().slice(0, 64);
      // Counted before it is judged: fifty at once are fifty.
      const wait = byAddress.take(networkOf(ip)) || byName.take(name);
      if (wait > 0) {
        refusals.note("throttled");
        return later(wait);
      }
      const outcome = await users.signInWithPassword({ name, password: form.get("password"), code: form.get("code") }, ip).catch(busy);
      if (outcome === "busy") {
        byAddress.right(networkOf(ip));
        byName.right(name);
        return later(2);
      }
      if (outcome.account) {
        byAddress.right(networkOf(ip));
        byName.right(name, true);
      }
      return judge(outcome, wrong);
    },

    // Never throttled: it costs no more than a signature, and whoever is kept from their password by others' guesses gets in with it.
    async passkey(form, bound, ip) {
      const proved = await passkeys?.assert(form.get("passkey"), bound, (id) => users.passkey(id)).catch(() => undefined);
      return judge(proved ? await users.signInWithPasskey(proved.passkey, proved.counter, ip) : { why: "passkey" }, wrongPasskey);
    },

    refused: (why, user) => refusals.note(why, user),
    flush: () => refusals.flush(),
  };
}

function busy(thrown: unknown): "busy" {
  if (thrown instanceof Failure && thrown.code === "quota_exceeded") return "busy";
  throw thrown;
}
