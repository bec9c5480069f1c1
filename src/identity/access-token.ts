import { hash, randomUUID } from "node:crypto";
import type { KeyObject } from "node:crypto";
import type { AgentName } from "../core/brand.ts";
import { isAgentName } from "../core/brand.ts";
import { Failure } from "../core/errors.ts";
import type { AgentDirectory } from "../core/ports.ts";
import type { Principal, Transport } from "../core/principal.ts";
import { openJws, signJws } from "./jws.ts";

/** Which access tokens were revoked before their time; by `jti`. */
interface TokenRecords {
  isRevoked(tokenId: string): boolean | Promise<boolean>;
}

export interface AccessTokensParts {
  /** P-256. */
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly kid: string;
  readonly issuer: string;
  /** The canonical resource, e.g. `https://broker.example/mcp`: without a trailing slash, and compared byte by byte. */
  readonly audience: string;
  readonly records: TokenRecords;
  readonly agents: AgentDirectory;
  readonly now: () => number;
  /** How many verified tokens are remembered. */
  readonly remembered?: number;
}

/** Access tokens in the profile of RFC 9068: ES256, `typ` `at+jwt`, bound to one audience, an hour at most. */
export interface AccessTokens {
  /** Throws `invalid_request`. */
  readonly mint: (order: MintOrder) => MintedToken;
  /** Signature and claims only: revocation is asked in `principal`. Throws `unauthenticated`. */
  readonly verify: (token: string) => VerifiedToken;
  /** The caller that this token stands for. Revocation is asked on every call. Throws `unauthenticated`. */
  readonly principal: (token: string, from: { readonly transport: Transport; readonly sourceIp?: string }) => Promise<Principal>;
}

interface MintOrder {
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
interface VerifiedToken {
  readonly agent: AgentName;
  readonly tokenId: string;
  readonly issuedAt: number;
  readonly notBefore: number;
  readonly expiresAt: number;
}

const typ = "at+jwt";
const longestTtl = 3600;
const defaultTtl = 600;
/** Milliseconds by which two clocks may differ. */
const skew = 5_000;

export function createAccessTokens(parts: AccessTokensParts): AccessTokens {
  const { kid, publicKey, privateKey, now } = parts;
  const capacity = parts.remembered ?? 10_000;
  /** Oldest first. Keyed by digest, so that a heap dump shows no usable token. */
  const verified = new Map<string, VerifiedToken>();

  function claimsOf(token: string): VerifiedToken {
    const { payload } = openJws(token, { kid, typ, publicKey });
    const { iss, aud, sub, client_id: client, jti, iat, nbf, exp } = payload;
    if (iss !== parts.issuer || aud !== parts.audience) throw new Error("token is for someone else");
    if (typeof sub !== "string" || !isAgentName(sub) || client !== sub) throw new Error("token names no agent");
    if (typeof jti !== "string" || jti === "" || jti.length > 128) throw new Error("token has no id");
    const issuedAt = milliseconds(iat);
    const expiresAt = milliseconds(exp);
    if (expiresAt - issuedAt > longestTtl * 1000) throw new Error("token lives too long");
    return { agent: sub, tokenId: jti, issuedAt, notBefore: nbf === undefined ? issuedAt : milliseconds(nbf), expiresAt };
  }

  function remember(key: string, claims: VerifiedToken): void {
    if (verified.size >= capacity) {
      const oldest = verified.keys().next();
      if (!oldest.done) verified.delete(oldest.value);
    }
    verified.set(key, claims);
  }

  function verify(token: string): VerifiedToken {
    const key = hash("sha256", token, "base64url");
    let claims = verified.get(key);
    try {
      if (claims) verified.delete(key);
      else claims = claimsOf(token);
      const time = now();
      if (time >= claims.expiresAt + skew) throw new Error("token expired");
      if (time < claims.notBefore - skew || time < claims.issuedAt - skew) throw new Error("token is not valid yet");
    } catch (cause) {
      throw new Failure("unauthenticated", {}, { cause });
    }
    remember(key, claims);
    return claims;
  }

  return {
    verify,

    mint(order) {
      const ttl = order.ttlSeconds ?? defaultTtl;
      if (!Number.isInteger(ttl) || ttl < 1 || ttl > longestTtl)
        throw new Failure("invalid_request", { problem: `A token lives between 1 and ${longestTtl} whole seconds.` });
      if (order.resource !== undefined && order.resource !== parts.audience && order.resource !== `${parts.audience}/`)
        throw new Failure("invalid_request", { problem: `Tokens are for ${parts.audience} only.` });
      const issuedAt = now();
      const expiresAt = issuedAt + ttl * 1000;
      const tokenId = randomUUID();
      const payload = {
        iss: parts.issuer,
        sub: order.agent,
        client_id: order.agent,
        aud: parts.audience,
        // With fractions of a second (RFC 7519 section 2), so that "every token from before now" is exact.
        iat: issuedAt / 1000,
        exp: expiresAt / 1000,
        jti: tokenId,
      };
      return { token: signJws({ header: { alg: "ES256", kid, typ }, payload }, privateKey), tokenId, expiresAt };
    },

    async principal(token, { transport, sourceIp }) {
      const { agent, tokenId, issuedAt } = verify(token);
      const [known, revoked] = await Promise.all([parts.agents.find(agent), parts.records.isRevoked(tokenId)]);
      if (revoked || !known || issuedAt < known.tokensValidFrom)
        throw new Failure("unauthenticated", {}, { cause: new Error(known ? "token revoked" : "token of an unknown agent") });
      return {
        agent,
        kind: "oauth",
        chain: [],
        authenticated: { method: "access-token", senderConstrained: false, at: issuedAt, tokenId },
        session: tokenId,
        transport,
        ...(sourceIp === undefined ? {} : { sourceIp }),
      };
    },
  };
}

/** A NumericDate (RFC 7519 section 2) as milliseconds, or throws. */
function milliseconds(seconds: unknown): number {
  if (typeof seconds !== "number" || !Number.isFinite(seconds) || seconds < 0 || seconds > 1e11) throw new Error("not a time");
  return Math.round(seconds * 1000);
}
