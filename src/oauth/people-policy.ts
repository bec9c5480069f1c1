import type { Configuration, KoaContextWithOIDC } from "oidc-provider";
import { interactionPolicy } from "oidc-provider";
import { isLoopback } from "../config/loopback.ts";
import type { UserDirectory } from "../identity/directory.ts";
import { askedFor } from "./consent.ts";

const { Check, Prompt, base } = interactionPolicy;

/**
 * Who counts as somebody: an account that is neither disabled nor frozen, in a sign-in that is not from before its
 * sessions were ended. Asked at the authorization endpoint, and again whenever a code or refresh token is used.
 */
export function findAccountIn(users: UserDirectory): NonNullable<Configuration["findAccount"]> {
  return async (context, id, presented) => {
    const account = await users.find(id);
    if (!account || account.disabled || account.frozen) return undefined;
    const signedInAt = presented ? "authTime" in presented && presented.authTime : context.oidc.session?.loginTs;
    if (typeof signedInAt === "number" && Math.round(signedInAt * 1000) < account.validFrom) return undefined;
    return { accountId: id, claims: () => ({ sub: `user:${id}` }) };
  };
}

/** When people are asked to sign in, and when to consent. `sessionFor` in seconds. */
export function interactionsOf(parts: {
  readonly sessionFor: number;
  readonly now: () => number;
  readonly base: string;
}): NonNullable<Configuration["interactions"]> {
  const { login, consent } = defaults();
  login.checks.add(
    new Check("session_over", "the sign-in is over", ({ oidc }) => {
      if (oidc.session?.accountId === undefined) return false;
      if (oidc.account === undefined) return true;
      return !oidc.result?.login && parts.now() / 1000 - (oidc.session.loginTs ?? 0) > parts.sessionFor;
    }),
  );
  const rest = consent.checks.filter(({ reason }) => reason !== "consent_prompt");
  const asking = new Prompt(
    { name: "consent", requestable: true },
    askedFor,
    ...rest,
    // RFC 8252 section 8.6: any program on this computer can pretend to be a client that is reached there.
    new Check("unproven_client", "the client cannot be told from others", "interaction_required", ({ oidc }) => {
      return !oidc.result?.consent && !isProven(oidc.params?.["redirect_uri"]);
    }),
  );
  return { policy: [login, asking], url: (_, { uid }) => `${parts.base}/oauth/interaction/${uid}` };
}

/** The grant of this consent, or that of an earlier one of the same person to the same client in this browser. */
export async function loadExistingGrant({ oidc }: KoaContextWithOIDC) {
  const { session, client, provider, account } = oidc;
  const id = oidc.result?.consent?.grantId ?? (client && session?.grantIdFor(client.clientId));
  const grant = id === undefined ? undefined : await provider.Grant.find(id);
  return grant?.accountId === account?.accountId && grant?.clientId === client?.clientId ? grant : undefined;
}

/** Whether what is sent to this address reaches its owner only: https to another machine. A device has none. */
function isProven(redirectUri: unknown): boolean {
  const url = typeof redirectUri === "string" ? URL.parse(redirectUri) : null;
  return url?.protocol === "https:" && !isLoopback(url.hostname);
}

function defaults() {
  const policy = base();
  const [login, consent] = [policy.get("login"), policy.get("consent")];
  if (!login || !consent) throw new Error("the provider has another idea of prompts");
  return { login, consent };
}
