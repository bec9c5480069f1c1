import type { KoaContextWithOIDC } from "oidc-provider";
import { Failure } from "../core/errors.ts";
import type { AccessTokens, VerifiedToken } from "../identity/access-token.ts";
import { claimsOf } from "../identity/claims.ts";
import { actorOf } from "./issue.ts";
import type { Step } from "./parts.ts";
import type { OAuthSessions } from "./sessions.ts";
import type { Standing } from "./standing.ts";

export interface StructuredTokensParts {
  readonly issuer: string;
  readonly resource: string;
  readonly tokens: Pick<AccessTokens, "verify" | "live">;
  readonly sessions: Pick<OAuthSessions, "end" | "endToken">;
  /** Throws when nothing is to be got for a refresh token any more. */
  readonly standing: Standing;
  readonly paths: { readonly revocation: string; readonly introspection: string };
}

/**
 * Revocation (RFC 7009) and introspection (RFC 7662) of our access tokens. The provider knows its own records only,
 * and refuses a JWT once it has authenticated the client: there we go on. A client sees and ends its own tokens, and
 * to all others they are as if they did not exist.
 */
export function createStructuredTokens(parts: StructuredTokensParts): Step {
  const { tokens, sessions, paths } = parts;

  function read(token: unknown, client: string): VerifiedToken | undefined {
    try {
      const verified = typeof token === "string" ? tokens.verify(token) : undefined;
      return verified?.client === client ? verified : undefined;
    } catch {
      return undefined;
    }
  }

  /** With the sign-in that it belongs to: who gives back one of its tokens is done with it (RFC 7009 section 2.1). */
  async function revoke(context: KoaContextWithOIDC, token: VerifiedToken | undefined): Promise<void> {
    const by = actorOf(context);
    if (token?.session !== undefined && token.lineage.length === 0) await sessions.end(token.session, by);
    // What was made of another token has the session of that one: it alone is ended.
    else if (token) await sessions.endToken({ id: token.tokenId, client: token.client }, by);
    answer(context, "");
  }

  async function introspect(context: KoaContextWithOIDC, token: VerifiedToken | undefined): Promise<void> {
    const alive = token !== undefined && (await tokens.live(token).then(isTrue, isFalse));
    if (!token || !alive) return answer(context, { active: false });
    const { tokenId, issuedAt, expiresAt, bound } = token;
    const { lin: _, sid: __, ...claims } = claimsOf(token);
    answer(context, {
      active: true,
      ...claims,
      iss: parts.issuer,
      aud: parts.resource,
      iat: Math.floor(issuedAt / 1000),
      exp: Math.floor(expiresAt / 1000),
      jti: tokenId,
      token_type: bound && "jkt" in bound ? "DPoP" : "Bearer",
    });
  }

  /** The provider knows that it has it; whether it is still good for anything is for us to say. */
  async function checkRefreshToken({ oidc: { entities }, body }: KoaContextWithOIDC): Promise<object> {
    const { RefreshToken: token, Grant: grant } = entities;
    if (!token || !grant || typeof body !== "object" || body === null) return { active: false };
    const signIn = { session: grant.jti, since: Math.round(grant.iat * 1000) };
    const good = await parts.standing({ client: token.clientId ?? "", account: token.accountId, signIn }).then(isTrue, isFalse);
    return good ? { ...body, sub: `user:${token.accountId}` } : { active: false };
  }

  return async (context, next) => {
    await next();
    const introspecting = context.path === paths.introspection;
    if (context.method !== "POST" || (!introspecting && context.path !== paths.revocation)) return;
    const client = context.oidc?.client;
    if (!client) return;
    // Naming oneself proves nothing (RFC 7662 section 2.1): who has no credentials would learn what a stranger may not.
    if (introspecting && client.clientAuthMethod === "none") {
      context.status = 401;
      context.set("www-authenticate", `Basic realm="${parts.issuer}"`);
      context.body = { error: "invalid_client", error_description: "introspection takes a client that authenticates itself" };
      return;
    }
    if (introspecting && isActive(context.body)) context.body = await checkRefreshToken(context);
    if (!isUnsupported(context.body)) return;
    const token = read(context.oidc.params?.["token"], client.clientId);
    try {
      await (introspecting ? introspect(context, token) : revoke(context, token));
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
      // RFC 7009 section 2.2.1: the token still exists, and the client tries again.
      context.status = 503;
      context.body = { error: "temporarily_unavailable", error_description: "nothing was revoked; try again later" };
    }
  };
}

function answer(context: KoaContextWithOIDC, body: object | ""): void {
  context.status = 200;
  context.set("cache-control", "no-store");
  context.body = body;
}

function isUnsupported(body: unknown): boolean {
  return typeof body === "object" && body !== null && "error" in body && body.error === "unsupported_token_type";
}

function isActive(body: unknown): boolean {
  return typeof body === "object" && body !== null && "active" in body && body.active === true;
}

const isTrue = (): boolean => true;
const isFalse = (): boolean => false;
