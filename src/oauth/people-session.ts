import { randomBytes } from "node:crypto";
import type { Session } from "oidc-provider";
import type { Account } from "../identity/directory.ts";
import { cookieOf } from "./people-request.ts";
import type { Rooms, Visit } from "./people-visit.ts";
import { mayStay } from "./people-visit.ts";

/** Whoever is signed in with this browser: the same sign-in that the authorization endpoint goes by. */
export function createBrowserSessions({ users, sessionFor, publicUrl, now }: Pick<Rooms, "users" | "sessionFor" | "publicUrl" | "now">) {
  const secure = publicUrl.startsWith("https:");

  async function read({ provider, request, response }: Visit): Promise<{ session: Session; account?: Account }> {
    const session = await provider.Session.get(provider.createContext(request, response));
    if (session.accountId === undefined) return { session };
    const account = await users.find(session.accountId);
    const since = Math.round((session.loginTs ?? 0) * 1000);
    const over = now() - since > sessionFor * 1000 || since < (account?.validFrom ?? 0);
    return mayStay(account) && !over ? { session, account } : { session };
  }

  return {
    read,

    /** A new id, always: whatever was known of the one before is of no use (session fixation). */
    async start(visit: Visit, account: Account): Promise<void> {
      const { provider, request, response } = visit;
      const context = provider.createContext(request, response);
      await (await provider.Session.get(context)).destroy();
      const session = new provider.Session();
      session.loginAccount({ accountId: account.account, loginTs: now() / 1000 });
      await session.save(sessionFor);
      context.cookies.secure = secure;
      const expires = new Date(now() + sessionFor * 1000);
      context.cookies.set(provider.cookieName("session"), session.jti, {
        httpOnly: true,
        sameSite: "lax",
        secure,
        path: "/",
        expires,
        overwrite: true,
      });
    },

    async end(visit: Visit): Promise<void> {
      const { provider, request, response } = visit;
      const context = provider.createContext(request, response);
      await (await provider.Session.get(context)).destroy();
      context.cookies.secure = secure;
      context.cookies.set(provider.cookieName("session"), null, { httpOnly: true, sameSite: "lax", secure, path: "/", overwrite: true });
    },

    /** Tells browsers apart before anybody has signed in, so that a form belongs to one. Set where there is none yet. */
    visitor({ request, response }: Visit): string {
      const name = secure ? "__Host-leasehold_visit" : "leasehold_visit";
      const present = cookieOf(request, name);
      if (present !== undefined && /^[A-Za-z0-9_-]{22}$/.test(present)) return present;
      const fresh = randomBytes(16).toString("base64url");
      response.appendHeader("set-cookie", `${name}=${fresh}; Path=/; HttpOnly; SameSite=Lax${secure ? "; Secure" : ""}`);
      return fresh;
    },
  };
}

export type BrowserSessions = ReturnType<typeof createBrowserSessions>;
