import type { AccessToken, ClientCredentials, JWTStructured, KoaContextWithOIDC, errors } from "oidc-provider";
import type { Actor } from "../core/event.ts";
import { Failure } from "../core/errors.ts";
import type { AuditLog } from "../core/ports.ts";
import type { Agent } from "../core/principal.ts";
import { isScope } from "../core/scope.ts";
import { claimsOf } from "../identity/claims.ts";
import type { Client } from "../identity/directory.ts";
import type { Standing } from "./standing.ts";

export interface IssueParts {
  readonly clients: { touch(id: string): Promise<void> };
  /** Asked again at the end, because much happens between the client's proof of itself and the token. */
  readonly standing: Standing;
  readonly giveBack: (context: KoaContextWithOIDC) => Promise<void>;
  readonly audit: AuditLog;
  /** Whether every token must be bound to a key. */
  readonly dpopRequired: boolean;
  readonly errors: typeof errors;
  readonly now: () => number;
}

/** The last word on every access token of the provider: it says who it speaks for, and is on record before it exists. */
export type Issue = (context: KoaContextWithOIDC, token: AccessToken | ClientCredentials, jwt: JWTStructured) => Promise<void>;

export function createIssue(parts: IssueParts): Issue {
  const { errors, now } = parts;

  return async (context, token, jwt) => {
    const { payload } = jwt;
    const { kind, clientId, scope, jkt } = token;
    if (clientId === undefined) throw new Error("a token without a client");
    if (parts.dpopRequired && jkt === undefined) throw new errors.InvalidRequest("a DPoP proof is required");
    const account = kind === "AccessToken" ? token.accountId : undefined;
    const session = kind === "AccessToken" ? token.grantId : undefined;
    if (kind === "ClientCredentials" && context.oidc.client?.clientAuthMethod === "none")
      throw new errors.UnauthorizedClient("a client without credentials has nothing to get a token with");
    const since = context.oidc.entities.Grant?.iat;
    const signIn = session === undefined || since === undefined ? undefined : { session, since: Math.round(since * 1000) };
    const { agent } = await parts.standing({ client: clientId, account, signIn });
    const tokenId = textOf(payload["jti"]);
    const issuedAt = now();
    const expiresAt = issuedAt + token.expiration * 1000;
    const claims = claimsOf({
      agent,
      client: clientId,
      chain: [],
      lineage: [],
      scopes: (scope ?? "").split(" ").filter(isScope),
      ...(account === undefined ? {} : { account }),
      ...(session === undefined ? {} : { session }),
      ...(jkt === undefined ? {} : { bound: { jkt } }),
    });
    // With fractions of a second (RFC 7519 section 2), so that "every token from before now" is exact.
    jwt.payload = { iss: payload["iss"], ...claims, aud: payload["aud"], iat: issuedAt / 1000, exp: expiresAt / 1000, jti: tokenId };

    const grant = context.oidc.params?.["grant_type"];
    try {
      await parts.audit.append({
        kind: "token.minted",
        actor: actorOf(context),
        agent,
        token: tokenId,
        expiresAt,
        client: clientId,
        ...(typeof grant === "string" ? { grant } : {}),
        ...(account === undefined ? {} : { user: account }),
        ...(session === undefined ? {} : { session }),
        ...(scope ? { scope } : {}),
      });
    } catch (cause) {
      // Where that fails as well, whoever comes again is taken for a thief, and has to sign in anew.
      await parts.giveBack(context).catch(() => undefined);
      throw unavailable(errors, cause);
    }
    await parts.clients.touch(clientId);
  };
}

/** Why this client gets nothing, in words for the operator. */
export function problemOf(client: Client | undefined, agent: Agent | undefined): string | undefined {
  if (!client) return undefined;
  if (client.removed) return "the client was removed";
  if (client.frozen) return "the client is frozen";
  if (!agent) return "the client's agent is unknown";
  if (agent.disabled) return "the client's agent is disabled";
  return agent.frozen ? "the client's agent is frozen" : undefined;
}

/** Who is at the authorization server. */
export function actorOf({ oidc, ip }: KoaContextWithOIDC): Actor {
  const client = oidc.client?.clientId;
  return { type: "client", ...(client === undefined ? {} : { client }), ...(ip === "" ? {} : { ip }) };
}

/** 503 with an OAuth error that says that it will pass; the cause is for our own log. */
export function unavailable(errors: IssueParts["errors"], cause: unknown): Error {
  if (cause instanceof Failure && cause.code !== "audit_unavailable") return cause;
  const error = new errors.CustomOIDCProviderError("temporarily_unavailable", "nothing was issued; try again later");
  return Object.assign(error, { status: 503, statusCode: 503, cause });
}

function textOf(value: unknown): string {
  if (typeof value !== "string") throw new Error("a token without an id");
  return value;
}
