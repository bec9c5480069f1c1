import { hash } from "node:crypto";
import type { Grant } from "oidc-provider";
import { isScope } from "../core/scope.ts";
import type { Account } from "../identity/directory.ts";
import type { Passkey } from "../identity/users.ts";
import { userActor } from "../identity/users.ts";
import { accountPage, signOutPage } from "./pages/account.ts";
import { messagePage } from "./pages/message.ts";
import { signInPage } from "./pages/sign-in.ts";
import type { Form } from "./people-request.ts";
import { PageRefusal, readForm, seeOther, sendPage } from "./people-request.ts";
import type { BrowserSessions } from "./people-session.ts";
import type { Rooms, Visit } from "./people-visit.ts";
import { csrfOf } from "./people-visit.ts";

export const accountPath = "/oauth/account";
export const signOutPath = "/oauth/sign-out";
/** What somebody who comes by themselves is doing, where others have an interaction. */
export const byThemselves = "account";

/** A person's own page: what acts for them, what they sign in with, and the way out. */
export function createAccountPage(rooms: Rooms, sessions: BrowserSessions, leave: (visit: Visit, bound: string) => Promise<void>) {
  const { users, signIn, passkeys, connections } = rooms;
  const action = `${rooms.base}${accountPath}`;

  function showSignIn(visit: Visit, visitor: string, status = 200, said: { readonly error?: string; readonly name?: string } = {}): void {
    const page = signInPage({
      action,
      csrf: csrfOf(rooms, "sign-in", visitor),
      ...(said.error === undefined ? {} : { error: said.error }),
      ...(said.name === undefined ? {} : { name: said.name }),
      ...(passkeys ? { passkey: passkeys.requestOptions(visitor) } : {}),
      ...(rooms.openid ? { provider: rooms.openid.host } : {}),
      cancel: false,
      formAction: [],
    });
    sendPage(visit.response, status, page);
  }

  async function answerSignIn(visit: Visit, visitor: string, form: Form): Promise<void> {
    const what = form.get("do");
    if (what === "openid" && rooms.openid) return leave(visit, byThemselves);
    if (what !== "password" && what !== "passkey") throw new PageRefusal(403, "You are not signed in", "Sign in first.");
    const outcome = what === "password" ? await signIn.password(form, visit.ip) : await signIn.passkey(form, visitor, visit.ip);
    if (!outcome.account) return showSignIn(visit, visitor, outcome.status, { error: outcome.error, name: form.get("name").slice(0, 63) });
    await sessions.start(visit, outcome.account);
    seeOther(visit.response, action);
  }

  async function grantsOf({ provider }: Visit, account: Account): Promise<readonly Grant[]> {
    const ids = await connections.list(account.account);
    const grants = await Promise.all(ids.map((id) => provider.Grant.find(id)));
    return grants.filter((grant) => grant?.accountId === account.account).filter((grant) => grant !== undefined);
  }

  async function show(visit: Visit, bound: string, account: Account, status = 200, error?: string): Promise<void> {
    const shown = (await grantsOf(visit, account)).map(async (grant) => {
      const id = grant.clientId ?? "";
      const client = await rooms.show(id, (await visit.provider.Client.find(id).catch(() => undefined))?.clientName);
      const scopes = Object.values(grant.resources ?? {}).flatMap((scope) => scope.split(" ").filter(isScope));
      return { id: handleOf(grant), client, scopes, since: day(grant.iat * 1000) };
    });
    const page = accountPage({
      action,
      csrf: csrfOf(rooms, "account", bound),
      name: account.name,
      role: account.role,
      passkeys: (await users.passkeys(account.account)).map(showPasskey),
      ...(passkeys ? { passkey: passkeys.creationOptions(bound, account) } : {}),
      connections: await Promise.all(shown),
      ...(error === undefined ? {} : { error }),
    });
    sendPage(visit.response, status, page);
  }

  async function answer(visit: Visit, bound: string, account: Account, form: Form): Promise<void> {
    const by = userActor(account, visit.ip);
    switch (form.get("do")) {
      case "disconnect": {
        const grant = (await grantsOf(visit, account)).find((one) => handleOf(one) === form.get("id"));
        if (grant) await connections.end(grant.jti, by);
        break;
      }
      case "remove-passkey":
        await users.removePasskey(account.account, Buffer.from(form.get("id"), "base64url"));
        break;
      case "passkey":
        if (!(await addPasskey(form, bound, account, visit.ip))) return show(visit, bound, account, 400, "This passkey cannot be used.");
        break;
      case "sign-out-everywhere":
        await users.change(account.account, "user.sessions-ended", by);
        for (const grant of await grantsOf(visit, account)) await connections.end(grant.jti, by);
        return signOut(visit);
      case "sign-out":
        return signOut(visit);
      default:
        throw new PageRefusal(400, "This does not work", "Go back and try again.");
    }
    seeOther(visit.response, action);
  }

  async function addPasskey(form: Form, bound: string, account: Account, ip: string): Promise<boolean> {
    try {
      const passkey = passkeys?.register(form.get("passkey"), bound);
      return passkey !== undefined && (await users.addPasskey(account, passkey, ip));
    } catch {
      return false;
    }
  }

  async function signOut(visit: Visit): Promise<void> {
    await sessions.end(visit);
    sendPage(visit.response, 200, messagePage("Signed out", "You can close this page."));
  }

  return async function serve(visit: Visit, path: string): Promise<void> {
    const { request } = visit;
    const { session, account } = await sessions.read(visit);
    const post = request.method === "POST";
    if (!account) {
      const visitor = sessions.visitor(visit);
      if (!post) return showSignIn(visit, visitor);
      return answerSignIn(visit, visitor, await readForm(request, rooms.publicUrl, csrfOf(rooms, "sign-in", visitor)));
    }
    // Bound to the sign-in, and to no other of the same person.
    const bound = `session ${session.uid}`;
    const csrf = csrfOf(rooms, "account", bound);
    if (post) return answer(visit, bound, account, await readForm(request, rooms.publicUrl, csrf));
    if (path === signOutPath) return sendPage(visit.response, 200, signOutPage({ action, csrf }));
    return show(visit, bound, account);
  };
}

/** Names a connection on the page without saying its id. */
function handleOf(grant: Grant): string {
  return hash("sha256", grant.jti, "base64url");
}

function showPasskey({ id, createdAt, usedAt }: Passkey) {
  return { id: Buffer.from(id).toString("base64url"), since: day(createdAt), ...(usedAt === undefined ? {} : { used: day(usedAt) }) };
}

function day(milliseconds: number): string {
  return new Date(milliseconds).toISOString().slice(0, 10);
}
