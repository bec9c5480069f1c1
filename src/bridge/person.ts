import { setTimeout } from "node:timers/promises";
import * as oauth from "oauth4webapi";
import type { Access } from "./access.ts";
import type { Challenge } from "./challenge.ts";
import type { Realm } from "./discovery.ts";
import { describeIssuer, discover } from "./discovery.ts";
import type { Credential, Held } from "./exchange.ts";
import { covers, heldFrom, isFresh, oauthError, refusal, withNonce } from "./exchange.ts";
import type { Login } from "./login.ts";
import type { LoginBox, Logins } from "./logins.ts";
import { BridgeProblem } from "./problem.ts";
import { newProofKey, proofs, takesProofs } from "./proof-key.ts";
import { register } from "./registration.ts";
import type { SignIn } from "./sign-in.ts";
import { signInByBrowser, signInByDevice } from "./sign-in.ts";
import type { Web } from "./web.ts";

export interface PersonParts {
  readonly server: URL;
  readonly how: "browser" | "device";
  /** Of a client that was registered before; absent: it registers itself. */
  readonly clientId: string | undefined;
  /** Read when it is needed: it is used up by one registration. */
  readonly invitation: () => Promise<string | undefined>;
  readonly hostname: string;
  readonly logins: Logins;
  readonly web: Web;
  readonly open: ((url: URL) => void) | undefined;
  readonly tell: (line: string) => void;
  readonly now: () => number;
  readonly signal: AbortSignal;
  /** Milliseconds that a person has to sign in. */
  readonly patience: number;
}

export interface Person extends Access {
  /** Signs in, whether or not somebody is; `afresh`: as a new client. Answers where the login is kept, in words. */
  signIn(options: { readonly afresh: boolean }): Promise<string>;
  /** Ends the login here and at the broker. `unrevoked`: the broker did not answer. */
  signOut(): Promise<"none" | "ended" | "unrevoked">;
}

/** Milliseconds without another window after one that came to nothing: clients try again at once, people do not. */
const pause = 60_000;

export function createPerson(parts: PersonParts): Person {
  const { server, logins, web, now } = parts;
  const name = parts.clientId === undefined ? server.href : `${server.href}#${encodeURIComponent(parts.clientId)}`;
  const command = `leasehold login --server ${server.href}`;
  let held: Held | undefined;
  let failed: { readonly until: number; readonly problem: BridgeProblem } | undefined;
  let working: Promise<unknown> = Promise.resolve();
  let known: Promise<Pick<Realm, "as" | "issuer">> | undefined;

  /** One thing at a time in this process, and through `alone` in all of them. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = working.then(work, work);
    working = turn.catch(() => undefined);
    return turn;
  }

  async function issuerOf(login: Login): Promise<Pick<Realm, "as" | "issuer">> {
    known ??= describeIssuer(web, login.issuer);
    return known.catch((thrown: unknown) => {
      known = undefined;
      throw thrown;
    });
  }

  async function keep(box: LoginBox, login: Login, answer: oauth.TokenEndpointResponse, token: Held): Promise<string> {
    const { scopes: _, ...rest } = login;
    const refreshToken = answer.refresh_token ?? login.refreshToken;
    const where = await box.write({
      ...rest,
      ...(refreshToken === undefined ? {} : { refreshToken }),
      ...(token.scopes ? { scopes: token.scopes } : {}),
    });
    held = token;
    failed = undefined;
    return where;
  }

  /** `undefined`: the login is over, and what is over of it was forgotten. */
  async function refresh(box: LoginBox, login: Login, refreshToken: string): Promise<Held | undefined> {
    const { as, issuer } = await issuerOf(login);
    const client = { client_id: login.clientId };
    const handle = login.key && (await proofs(client, login.key));
    try {
      const answer = await withNonce(async () =>
        oauth.processRefreshTokenResponse(
          as,
          client,
          await oauth.refreshTokenGrantRequest(as, client, oauth.None(), refreshToken, {
            ...web.options(issuer),
            ...(handle ? { DPoP: handle } : {}),
            additionalParameters: { resource: login.resource },
          }),
        ),
      );
      const token = heldFrom(answer, { scopes: login.scopes, proofs: handle, now: now() });
      await keep(box, login, answer, token);
      return token;
    } catch (thrown) {
      const error = await oauthError(thrown);
      const { refreshToken: _, ...rest } = login;
      if (error === "invalid_grant") await box.write(rest);
      else if (error === "invalid_client" || error === "unauthorized_client") await box.remove();
      else throw await refusal(thrown, "the broker did not renew the login");
      return undefined;
    }
  }

  /** Without asking anybody. */
  const renewed = (): Promise<Held | undefined> =>
    logins.alone(name, async (box) => {
      const login = await box.read();
      return login?.refreshToken === undefined ? undefined : refresh(box, login, login.refreshToken);
    });

  async function ask(box: LoginBox, challenge: Challenge, afresh: boolean): Promise<string> {
    const realm = await discover(web, server, challenge.metadata);
    known = Promise.resolve(realm);
    const stored = await box.read();
    const mine = stored?.issuer === realm.as.issuer && stored.resource === realm.resource && !afresh ? stored : undefined;
    const key = takesProofs(realm.as) ? (mine?.key ?? (await newProofKey())) : undefined;
    // Those that were wanted of us, with those that we had; else all that there are.
    const wanted = [...new Set([...(mine?.scopes ?? []), ...challenge.scopes])];
    const asking = wanted.length > 0 ? wanted : realm.scopes;
    const scopes = asking.length > 0 ? asking : undefined;

    async function become(): Promise<Login> {
      const clientId = parts.clientId ?? (await register(web, realm, { hostname: parts.hostname, invitation: await parts.invitation() }));
      const login = { issuer: realm.as.issuer, resource: realm.resource, clientId, ...(key ? { key } : {}) };
      // Kept before anybody signs in: a login that is given up must not cost another registration.
      await box.write(login);
      return login;
    }

    async function signIn(login: Login): Promise<string> {
      const client = { client_id: login.clientId };
      const handle = key && (await proofs(client, key));
      const signal = AbortSignal.any([parts.signal, AbortSignal.timeout(parts.patience)]);
      const order: SignIn = { web, realm, client, proofs: handle, scopes, tell: parts.tell, open: parts.open, wait, signal };
      const answer = await (parts.how === "device" ? signInByDevice(order) : signInByBrowser(order));
      return keep(box, login, answer, heldFrom(answer, { scopes, proofs: handle, now: now() }));
    }

    const login = mine ? { ...mine, ...(key ? { key } : {}) } : await become();
    try {
      return await signIn(login);
    } catch (thrown) {
      if (mine === undefined || parts.clientId !== undefined || (await oauthError(thrown)) !== "invalid_client") throw thrown;
    }
    // The broker forgot this client: it becomes a new one.
    await box.remove();
    return signIn(await become());
  }

  async function asked(box: LoginBox, challenge: Challenge, afresh: boolean): Promise<string> {
    try {
      return await ask(box, challenge, afresh);
    } catch (thrown) {
      if (parts.signal.aborted) throw thrown;
      const late = isTimeout(thrown) || (thrown instanceof Error && isTimeout(thrown.cause));
      const problem = late
        ? new BridgeProblem("login", "nobody has signed in yet", { fix: `Run: ${command}`, cause: thrown })
        : await refusal(thrown, "signing in did not work", `Run: ${command}`);
      if (problem.reason !== "unavailable") failed = { until: now() + pause, problem };
      throw problem;
    }
  }

  const obtained = (challenge: Challenge, enough: (login: Login) => boolean): Promise<Credential> =>
    logins.alone(name, async (box) => {
      const login = await box.read();
      // Another bridge may have signed in while this one waited for its turn.
      const token = login?.refreshToken !== undefined && enough(login) ? await refresh(box, login, login.refreshToken) : undefined;
      if (token) return token.credential;
      if (failed && now() < failed.until) throw failed.problem;
      await asked(box, challenge, false);
      if (!held) throw new BridgeProblem("login", "nobody has signed in yet", { fix: `Run: ${command}` });
      return held.credential;
    });

  return {
    async current() {
      if (held && isFresh(held, now())) return held.credential;
      return inTurn(async () => (held && isFresh(held, now()) ? held : await renewed())?.credential);
    },

    renew: (refused, challenge) =>
      inTurn(async () => {
        // Somebody before us in the queue had the same answer.
        if (held && held.credential !== refused && isFresh(held, now())) return held.credential;
        return obtained(challenge, () => true);
      }),

    widen: (challenge) =>
      inTurn(async () => {
        const wanted = challenge.scopes;
        if (wanted.length === 0 || covers(held?.scopes, wanted))
          throw new BridgeProblem("refused", "the broker refuses this call, though the login has all the scopes that it asks for");
        return obtained(challenge, (login) => covers(login.scopes, wanted));
      }),

    signIn: ({ afresh }) =>
      inTurn(() =>
        logins.alone(name, async (box) => {
          const where = await asked(box, { scopes: [] }, afresh);
          if ((await box.read())?.refreshToken !== undefined) return where;
          throw new BridgeProblem("refused", "the broker gave no login that lasts beyond this moment");
        }),
      ),

    signOut: () =>
      inTurn(() =>
        logins.alone(name, async (box) => {
          const login = await box.read();
          if (!login) return "none";
          await box.remove();
          held = undefined;
          return login.refreshToken === undefined || (await revoke(login, login.refreshToken)) ? "ended" : "unrevoked";
        }),
      ),
  };

  async function revoke(login: Login, token: string): Promise<boolean> {
    try {
      const { as, issuer } = await issuerOf(login);
      const client = { client_id: login.clientId };
      await oauth.processRevocationResponse(
        await oauth.revocationRequest(as, client, oauth.None(), token, {
          ...web.options(issuer),
          additionalParameters: { token_type_hint: "refresh_token" },
        }),
      );
      return true;
    } catch {
      return false;
    }
  }
}

const wait = (time: number, signal: AbortSignal): Promise<void> => setTimeout(time, undefined, { signal });

function isTimeout(thrown: unknown): boolean {
  return thrown instanceof DOMException && thrown.name === "TimeoutError";
}
