import { hash, randomUUID } from "node:crypto";
import type { KeyObject } from "node:crypto";
import type { AgentName } from "../core/brand.ts";
import { Failure } from "../core/errors.ts";
import type { AgentDirectory } from "../core/ports.ts";
import type { Principal, Transport, User } from "../core/principal.ts";
import type { Bearer } from "./claims.ts";
import { bearerOf, claimsOf } from "./claims.ts";
import type { ClientDirectory, Revocations, UserDirectory } from "./directory.ts";
import { openJws, signJws } from "./jws.ts";

/** The keys that sign access tokens. They rotate: a token is checked by the key that it names, as long as that one is kept. */
interface TokenKeys {
  /** Signs what is minted now. P-256. */
  current(): TokenKey;
  /** The public key of that id, or `undefined` when it is none of ours or was withdrawn. */
  find(kid: string): KeyObject | undefined;
  /** Looks for keys that another process made. Called when a token names one that is not known. */
  refresh?(): Promise<void>;
}

interface TokenKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
}

export interface AccessTokensParts {
  readonly keys: TokenKeys;
  readonly issuer: string;
  /** The canonical resource, e.g. `https://broker.example/mcp`: without a trailing slash, and compared byte by byte. */
  readonly audience: string;
  readonly revocations: Pick<Revocations, "isRevoked">;
  readonly agents: AgentDirectory;
  readonly users: UserDirectory;
  readonly clients: ClientDirectory;
  readonly now: () => number;
  /** How many verified tokens are remembered. */
  readonly remembered?: number;
}

/** Access tokens in the profile of RFC 9068: ES256, `typ` `at+jwt`, bound to one audience, an hour at most. */
export interface AccessTokens {
  /** Throws `invalid_request`. */
  readonly mint: (order: MintOrder) => MintedToken;
  /** Signature and claims only: revocation is asked in `live`. Throws `unauthenticated`. */
  readonly verify: (token: string) => VerifiedToken;
  /** Whoever stands behind these claims, asked anew on every call: revoked, frozen or unknown is `unauthenticated`. */
  readonly live: (token: VerifiedToken) => Promise<Standing>;
  /** The caller that this token stands for: `verify`, then `live`. Throws `unauthenticated`. */
  readonly principal: (token: string, from: From) => Promise<Principal>;
}

export interface From {
  readonly transport: Transport;
  readonly sourceIp?: string;
  /** The key or certificate that the caller proved to hold. A token that is bound to one is refused without it. */
  readonly proved?: { readonly jkt?: string; readonly "x5t#S256"?: string };
}

interface Standing {
  readonly user?: User;
}

export interface MintOrder extends Partial<Omit<Bearer, "agent">> {
  readonly agent: AgentName;
  /** Seconds, 1 to 3600; 600 when absent. */
  readonly ttlSeconds?: number;
  /** What the client named as its resource (RFC 8707): ours, or ours with one trailing slash, which clients add. */
  readonly resource?: string;
}

interface MintedToken {
  readonly token: string;
  readonly tokenId: string;
  readonly expiresAt: number;
}

/** Times are milliseconds since the epoch. */
export interface VerifiedToken extends Bearer {
  readonly tokenId: string;
  readonly issuedAt: number;
  readonly notBefore: number;
  readonly expiresAt: number;
}

interface Remembered {
  readonly kid: string;
  readonly claims: VerifiedToken;
}

const typ = "at+jwt";
export const longestTtl = 3600;
const defaultTtl = 600;
/** Milliseconds by which two clocks may differ. */
const skew = 5_000;

export function createAccessTokens(parts: AccessTokensParts): AccessTokens {
  const { keys, now } = parts;
  const capacity = parts.remembered ?? 10_000;
  /** Oldest first. Keyed by digest, so that a heap dump shows no usable token. What it remembers is mathematics, never standing. */
  const verified = new Map<string, Remembered>();

  function open(token: string): Remembered {
    const { header, payload } = openJws(token, { typ, key: (kid) => keys.find(kid) });
    const { iss, aud, jti, iat, nbf, exp } = payload;
    if (iss !== parts.issuer || aud !== parts.audience) throw new Error("token is for someone else");
    if (typeof jti !== "string" || jti === "" || jti.length > 128) throw new Error("token has no id");
    const issuedAt = milliseconds(iat);
    const expiresAt = milliseconds(exp);
    if (expiresAt - issuedAt > longestTtl * 1000) throw new Error("token lives too long");
    const notBefore = nbf === undefined ? issuedAt : milliseconds(nbf);
    return { kid: String(header["kid"]), claims: { ...bearerOf(payload), tokenId: jti, issuedAt, notBefore, expiresAt } };
  }

  function remember(key: string, opened: Remembered): void {
    if (verified.size >= capacity) {
      const oldest = verified.keys().next();
      if (!oldest.done) verified.delete(oldest.value);
    }
    verified.set(key, opened);
  }

  function verify(token: string): VerifiedToken {
    const key = hash("sha256", token, "base64url");
    let opened = verified.get(key);
    // Taken out and put back, so that the longest unused is the oldest; what fails below stays out.
    verified.delete(key);
    try {
      // A key that was withdrawn takes what it signed with it.
      if (!opened || !keys.find(opened.kid)) opened = open(token);
      const { notBefore, issuedAt, expiresAt } = opened.claims;
      const time = now();
      if (time >= expiresAt + skew) throw new Error("token expired");
      if (time < notBefore - skew || time < issuedAt - skew) throw new Error("token is not valid yet");
    } catch (cause) {
      throw refused(cause);
    }
    remember(key, opened);
    return opened.claims;
  }

  async function live(token: VerifiedToken): Promise<Standing> {
    const ids = [token.tokenId, ...(token.session === undefined ? [] : [token.session]), ...token.lineage];
    const revoked = await Promise.all(ids.map((id) => parts.revocations.isRevoked(id)));
    if (revoked.includes(true)) throw refused(new Error("token revoked"));
    // Every agent of the chain: a child dies with its parent, at once and not when its time is up.
    for (const [index, name] of [token.agent, ...token.chain].entries()) {
      const agent = await parts.agents.find(name);
      if (!agent) throw refused(new Error("token of an unknown agent"));
      if (token.issuedAt < agent.tokensValidFrom) throw refused(new Error("token revoked"));
      // The caller's own freeze is for the broker to refuse, and to write down.
      if (index > 0 && (agent.frozen || agent.disabled)) throw refused(new Error("an agent that it acts for is frozen or disabled"));
    }
    if (!isWorkload(token)) await liveClient(token);
    return token.account === undefined ? {} : { user: await liveUser(token.account, token.issuedAt) };
  }

  async function liveClient({ client: id, agent }: VerifiedToken): Promise<void> {
    const client = await parts.clients.find(id);
    // Tokens of the command line are the agent's own, whether or not it is a client as well.
    if (!client && id === agent) return;
    if (!client || client.removed || client.frozen) throw refused(new Error("token of a client that was removed or frozen"));
    if (client.agent !== agent) throw refused(new Error("token of a client that is another agent"));
  }

  async function liveUser(id: string, issuedAt: number): Promise<User> {
    const account = await parts.users.find(id);
    if (!account || account.disabled || account.frozen || issuedAt < account.validFrom)
      throw refused(new Error("token on behalf of a user who was disabled, frozen or signed out"));
    const { issuer, subject, email, teams } = account;
    return { account: id, issuer, subject, teams, ...(email === undefined ? {} : { email }) };
  }

  return {
    verify,
    live,

    mint({ agent, ttlSeconds = defaultTtl, resource, ...more }) {
      if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1 || ttlSeconds > longestTtl)
        throw new Failure("invalid_request", { problem: `A token lives between 1 and ${longestTtl} whole seconds.` });
      if (resource !== undefined && resource !== parts.audience && resource !== `${parts.audience}/`)
        throw new Failure("invalid_request", { problem: `Tokens are for ${parts.audience} only.` });
      const issuedAt = now();
      const expiresAt = issuedAt + ttlSeconds * 1000;
      const tokenId = randomUUID();
      const payload = {
        iss: parts.issuer,
        ...claimsOf({ client: agent, chain: [], lineage: [], ...more, agent }),
        aud: parts.audience,
        // With fractions of a second (RFC 7519 section 2), so that "every token from before now" is exact.
        iat: issuedAt / 1000,
        exp: expiresAt / 1000,
        jti: tokenId,
      };
      const { kid, privateKey } = keys.current();
      return { token: signJws({ header: { alg: "ES256", kid, typ }, payload }, privateKey), tokenId, expiresAt };
    },

    async principal(token, { transport, sourceIp, proved }) {
      const claims = await withNewKeys(() => verify(token), keys);
      const { bound } = claims;
      if (bound && !("jkt" in bound ? proved?.jkt === bound.jkt : proved?.["x5t#S256"] === bound["x5t#S256"]))
        throw refused(new Error("token is bound to a key that the caller did not prove to hold"));
      const { user } = await live(claims);
      return {
        agent: claims.agent,
        client: claims.client,
        kind: isWorkload(claims) ? "workload" : "oauth",
        ...(user ? { onBehalfOf: user } : {}),
        chain: claims.chain,
        ...(claims.scopes ? { scopes: claims.scopes } : {}),
        ...(claims.credentials ? { credentials: claims.credentials } : {}),
        authenticated: { method: "access-token", senderConstrained: bound !== undefined, at: claims.issuedAt, tokenId: claims.tokenId },
        session: claims.session ?? claims.tokenId,
        transport,
        ...(sourceIp === undefined ? {} : { sourceIp }),
      };
    },
  };
}

/** The client of workloads that exchange a token of their platform: they register nothing. */
export const workloadClient = "workload";

/** An agent may have that name, too: tokens of the command line then say it twice. */
function isWorkload({ client, agent }: Bearer): boolean {
  return client === workloadClient && agent !== workloadClient;
}

/** A token may be signed with a key that another process made a moment ago. */
async function withNewKeys(verify: () => VerifiedToken, keys: TokenKeys): Promise<VerifiedToken> {
  try {
    return verify();
  } catch (thrown) {
    const unknown = thrown instanceof Failure && thrown.cause instanceof Error && thrown.cause.message === unknownKey;
    if (!unknown || !keys.refresh) throw thrown;
  }
  await keys.refresh();
  return verify();
}

const unknownKey = "token is signed with an unknown key";

function refused(cause: unknown): Failure {
  return new Failure("unauthenticated", {}, { cause });
}

/** A NumericDate (RFC 7519 section 2) as milliseconds, or throws. */
function milliseconds(seconds: unknown): number {
  if (typeof seconds !== "number" || !Number.isFinite(seconds) || seconds < 0 || seconds > 1e11) throw new Error("not a time");
  return Math.round(seconds * 1000);
}
