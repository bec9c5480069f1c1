import type { KeyObject } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Provider } from "oidc-provider";
import { Failure } from "../core/errors.ts";
import type { AgentDirectory, AuditLog } from "../core/ports.ts";
import type { Users } from "../identity/users.ts";
import { showClient } from "./consent.ts";
import type { OpenIdParts } from "./openid.ts";
import { createOpenId } from "./openid.ts";
import { messagePage } from "./pages/message.ts";
import { createPasskeys } from "./passkey.ts";
import type { People } from "./parts.ts";
import { accountPath, byThemselves, createAccountPage, signOutPath } from "./people-account.ts";
import { createProviderPages } from "./people-device.ts";
import { createEnrolment } from "./people-enroll.ts";
import { createInteractions } from "./people-interaction.ts";
import { findAccountIn, interactionsOf, loadExistingGrant } from "./people-policy.ts";
import { cookieOf, PageRefusal, seeOther, sendPage } from "./people-request.ts";
import { createBrowserSessions } from "./people-session.ts";
import type { Rooms, Visit } from "./people-visit.ts";
import { openidCookie } from "./people-visit.ts";
import { createSignIn } from "./sign-in.ts";

export interface PeopleParts extends Pick<Rooms, "clients" | "connections" | "sessionFor"> {
  /** Without a trailing slash. */
  readonly publicUrl: string;
  readonly users: Users;
  readonly agents: AgentDirectory;
  readonly audit: AuditLog;
  /** 32 random bytes, the same in all processes of a broker. */
  readonly key: KeyObject;
  /** `oauth.people.openid` of the configuration. */
  readonly openid?: Omit<OpenIdParts, "redirectUri" | "key" | "now">;
  /** Who is at the other end of a request, proxies taken into account. */
  readonly addressOf: (request: IncomingMessage) => string;
  readonly logger: { error(facts: object, message: string): void };
  readonly now: () => number;
}

const interactionPrefix = "/oauth/interaction/";
const enrolmentPrefix = "/oauth/enroll/";
const callbackPath = "/oauth/openid/callback";

/** How people sign in and consent: the pages, and what the authorization server is to know of accounts. */
export function createPeople(parts: PeopleParts): People & { /** Reports refusals that are still held back. */ flush(): void } {
  const { publicUrl, users, clients, key, now, logger } = parts;
  const base = new URL(publicUrl).pathname.replace(/\/$/, "");
  const passkeys = createPasskeys({ publicUrl, key, now });
  const openid = parts.openid && createOpenId({ ...parts.openid, redirectUri: `${publicUrl}${callbackPath}`, key, now });
  const signIn = createSignIn({
    users,
    passkeys,
    now,
    // A refusal stays one when it cannot be written down.
    report: (refusal) =>
      void parts.audit
        .append({ kind: "user.refused", actor: { type: "broker" }, ...refusal })
        .catch((err: unknown) => logger.error({ err }, "a refused sign-in could not be written down")),
  });
  const rooms: Rooms = {
    publicUrl,
    base,
    users,
    clients,
    agents: parts.agents,
    audit: parts.audit,
    signIn,
    passkeys,
    openid,
    connections: parts.connections,
    key,
    sessionFor: parts.sessionFor,
    now,
    show: async (id, name, redirectUri) => showClient(id, await clients.find(id), name, redirectUri),
  };
  const interactions = createInteractions(rooms);
  const enrolment = createEnrolment(rooms);
  const sessions = createBrowserSessions(rooms);
  const account = createAccountPage(rooms, sessions, interactions.leave);
  const pages = createProviderPages({
    devicePath: ({ oidc }) => oidc.urlFor("code_verification"),
    addressOf: parts.addressOf,
    show: rooms.show,
  });

  /** Back from the OpenID provider. Whoever brings an answer that this browser did not leave for is sent away. */
  async function callback(visit: Visit): Promise<void> {
    if (!openid) throw notHere();
    const away = new PageRefusal(
      403,
      "That did not work",
      "The sign-in was not started in this browser, was refused, or took too long. Go back to the app and start again.",
    );
    const answer = new URL(visit.request.url ?? "", publicUrl);
    const cookie = openidCookie(rooms);
    const found = await openid.finish(answer, cookieOf(visit.request, cookie.name)).catch((err: unknown) => {
      signIn.refused("openid");
      logger.error({ err }, "a sign-in with the OpenID provider failed");
      throw away;
    });
    visit.response.appendHeader("set-cookie", `${cookie.name}=; Max-Age=0; ${cookie.attributes}`);
    const outcome = found.user && (await users.signInVouched(found.user, visit.ip));
    if (!outcome?.account) {
      signIn.refused(outcome?.why ?? "not-allowed", outcome?.user);
      throw new PageRefusal(403, "Not admitted", "Your provider knows you, but you are not admitted here. Ask the operator.");
    }
    if (found.bound !== byThemselves) return interactions.returned(visit, found.bound, outcome.account);
    await sessions.start(visit, outcome.account);
    seeOther(visit.response, `${base}${accountPath}`);
  }

  async function route(visit: Visit, path: string): Promise<void> {
    const { method } = visit.request;
    if (method !== "GET" && method !== "POST" && method !== "HEAD") throw new PageRefusal(405, "This does not work", "These are pages.");
    if (path.startsWith(interactionPrefix)) return interactions.serve(visit, path.slice(interactionPrefix.length));
    if (path.startsWith(enrolmentPrefix)) return enrolment(visit, path.slice(enrolmentPrefix.length));
    if (path === accountPath || path === signOutPath) return account(visit, path);
    if (path === callbackPath && method === "GET") return callback(visit);
    throw notHere();
  }

  function fail({ request, response }: Visit, thrown: unknown): void {
    const { status, title, message, retryAfter, cause } = refusalOf(thrown);
    if (status >= 500) logger.error({ err: cause }, "a page failed");
    if (response.headersSent) {
      response.destroy();
      return;
    }
    const headers = {
      ...(request.complete ? {} : { connection: "close" }),
      ...(retryAfter === undefined ? {} : { "retry-after": String(retryAfter) }),
    };
    sendPage(response, status, messagePage(title, message), headers);
    request.resume();
  }

  return {
    configuration: {
      findAccount: findAccountIn(users),
      interactions: interactionsOf({ sessionFor: parts.sessionFor, now, base }),
      loadExistingGrant,
      renderError: pages.renderError,
    },
    deviceFlow: pages.deviceFlow,
    flush: () => signIn.flush(),

    handles: (path) =>
      path.startsWith(interactionPrefix) || path.startsWith(enrolmentPrefix) || [accountPath, signOutPath, callbackPath].includes(path),

    async serve(request: IncomingMessage, response: ServerResponse, provider: Provider) {
      const path = (request.url ?? "").split("?", 1)[0] ?? "";
      const visit = { request, response, provider, ip: parts.addressOf(request) };
      await route(visit, path).catch((thrown: unknown) => fail(visit, thrown));
    },
  };
}

function notHere(): PageRefusal {
  return new PageRefusal(404, "Nothing here", "There is no such page.");
}

/** `cause` is for the log. */
function refusalOf(thrown: unknown): PageRefusal {
  if (thrown instanceof PageRefusal) return thrown;
  const code = thrown instanceof Failure ? thrown.code : undefined;
  const cause = thrown instanceof Failure ? (thrown.cause ?? thrown) : thrown;
  if (code === "quota_exceeded") return new PageRefusal(429, "Too many at once", "Try again in a moment.", { retryAfter: 2 });
  if (code === "audit_unavailable")
    return new PageRefusal(503, "Not now", "Nothing can be written down at the moment, so nothing was done. Try again later.", { cause });
  return new PageRefusal(500, "Something went wrong", "It is not your fault. Tell the operator when it happened.", { cause });
}
