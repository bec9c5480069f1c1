import { createHash, X509Certificate } from "node:crypto";
import type { KoaContextWithOIDC, Provider, TokenEndpointGrantContext } from "oidc-provider";
import { errors } from "oidc-provider";
import { buildTokenResponse, checkDpopReplay, checkDpopRequired, checkMtlsCert, validateDpop } from "oidc-provider/lib/helpers/grants.js";
import type { AgentName } from "../core/brand.ts";
import type { AgentDirectory, AuditLog } from "../core/ports.ts";
import type { AccessTokens, MintOrder } from "../identity/access-token.ts";
import { longestTtl, workloadClient } from "../identity/access-token.ts";
import { narrowingType } from "../identity/claims.ts";
import type { ClientDirectory } from "../identity/directory.ts";
import { Unacceptable } from "./federation-assertion.ts";
import { Refused } from "./grants-refusal.ts";
import { actorOf, problemOf } from "./issue.ts";
import { isOurs } from "./provider.ts";

/** The one type of token that there is (RFC 8693 section 3). */
export const accessTokenType = "urn:ietf:params:oauth:token-type:access_token";

type Bound = NonNullable<MintOrder["bound"]>;

export interface IssuingParts {
  /** Ours: the public URL. */
  readonly issuer: string;
  /** The MCP URL, without a trailing slash. */
  readonly resource: string;
  readonly tokens: Pick<AccessTokens, "mint" | "verify" | "live">;
  readonly agents: AgentDirectory;
  readonly clients: ClientDirectory & {
    /** It got a token. */
    touch?(id: string): Promise<void>;
  };
  readonly audit: AuditLog;
  readonly now: () => number;
  /** Whether tokens of this agent must be bound to a key, whichever client they are issued to. */
  readonly mustBind?: (agent: AgentName) => boolean;
}

interface Issuance {
  readonly grant: string;
  readonly order: Omit<MintOrder, "ttlSeconds" | "resource" | "client" | "bound">;
  /** Seconds at most. */
  readonly ttl: number;
  /** Milliseconds; it ends before that. */
  readonly until?: number;
  readonly evidence?: { readonly issuer: string; readonly subject: string };
  readonly issuedTokenType?: string;
  /** Asked once the token is on record and before it leaves: throws when what it rests on was withdrawn meanwhile. */
  readonly stillTrue?: () => Promise<unknown>;
}

export interface Issuing {
  /** The key or certificate that the client proves to hold, if any. Throws the provider's errors. */
  proved(provider: Provider, context: TokenEndpointGrantContext): Promise<Bound | undefined>;
  /** Who the authenticated client is. Throws `Unacceptable` when it is nobody any more. */
  agentOf(client: string): Promise<AgentName>;
  /** Throws `Refused` when `resource` or `audience` name something that is not ours (RFC 8707 section 2, RFC 8693 section 2.2.2). */
  checkTarget(context: TokenEndpointGrantContext): void;
  /** Mints, writes it down, and only then answers the request with it. */
  issue(provider: Provider, context: TokenEndpointGrantContext, issuance: Issuance): Promise<void>;
}

/** Milliseconds between looking at the clock and minting, with room to spare: a child ends before its parent, not after. */
const tick = 100;

export function createIssuing(parts: IssuingParts): Issuing {
  const { tokens, agents, clients, audit, now, resource } = parts;

  async function checkAgent(name: AgentName): Promise<void> {
    const agent = await agents.find(name);
    if (agent && !agent.frozen && !agent.disabled) return;
    throw new Unacceptable(agent ? "the agent is frozen or disabled" : "the agent is unknown");
  }

  async function proved(provider: Provider, context: TokenEndpointGrantContext): Promise<Bound | undefined> {
    const proof = await validateDpop(provider, context);
    checkDpopRequired(provider, context, proof);
    if (proof) return { jkt: proof.thumbprint };
    const certificate = checkMtlsCert(provider, context);
    return certificate === undefined ? undefined : { "x5t#S256": thumbprintOf(certificate) };
  }

  return {
    proved,

    async agentOf(id) {
      const client = await clients.find(id);
      const agent = client && (await agents.find(client.agent));
      const problem = problemOf(client, agent);
      if (!client || problem !== undefined) throw new Unacceptable(problem ?? "the client is no agent");
      return client.agent;
    },

    checkTarget({ oidc: { params } }) {
      const targets = [params.resource, params["audience"]].flat().filter((one) => one !== undefined);
      if (targets.every((target) => typeof target === "string" && isOurs(target, resource, parts.issuer))) return;
      throw new Refused("invalid_target", `Tokens are for ${resource} only.`, "asked for a token for another resource");
    },

    async issue(provider, context, { grant, order, ttl, until = Infinity, evidence, issuedTokenType, stillTrue }) {
      const { clientId } = context.oidc.client;
      await checkAgent(order.agent);
      const bound = await proved(provider, context);
      if (!bound && parts.mustBind?.(order.agent))
        throw new Refused(
          "invalid_dpop_proof",
          "Tokens of this agent are bound to a key: send a DPoP proof.",
          "no DPoP proof for an agent that needs one",
        );
      // Not before everything else is in order: each proof that is accepted is a row in the store.
      await checkDpopReplay(provider, context, await validateDpop(provider, context), clientId);

      const ttlSeconds = Math.min(ttl, longestTtl, Math.floor((until - now() - tick) / 1000));
      if (ttlSeconds < 1) throw new Unacceptable("no time is left of it");
      const minted = tokens.mint({ ...order, client: clientId, ttlSeconds, ...(bound ? { bound } : {}) });

      const { agent, account, session, chain = [], scopes, credentials } = order;
      await audit.append({
        kind: "token.minted",
        actor: actorOf(context),
        agent,
        token: minted.tokenId,
        expiresAt: minted.expiresAt,
        grant,
        client: clientId,
        ...(account === undefined ? {} : { user: account }),
        ...(session === undefined ? {} : { session }),
        ...(chain.length > 0 ? { chain } : {}),
        ...(scopes ? { scope: scopes.join(" ") } : {}),
        ...(evidence ? { evidence } : {}),
      });
      // A revocation that came while we were busy: what has not left yet never does.
      await stillTrue?.();
      await tokens.live(tokens.verify(minted.token));
      if (clientId !== workloadClient) await clients.touch?.(clientId);

      context.body = buildTokenResponse(provider, {
        accessToken: minted.token,
        tokenType: bound && "jkt" in bound ? "DPoP" : "Bearer",
        expiresIn: ttlSeconds,
        ...(scopes ? { scope: scopes.join(" ") } : {}),
        ...(credentials ? { authorizationDetails: [{ type: narrowingType, credentials }] } : {}),
        ...(issuedTokenType === undefined ? {} : { issuedTokenType }),
      });
    },
  };
}

function thumbprintOf(certificate: string | X509Certificate): string {
  const { raw } = typeof certificate === "string" ? new X509Certificate(certificate) : certificate;
  return createHash("sha256").update(raw).digest("base64url");
}

/** The provider has authenticated the client before it asks a grant. */
export function isGrantContext(context: KoaContextWithOIDC): context is TokenEndpointGrantContext {
  return context.oidc.client !== undefined && context.oidc.params !== undefined;
}

/** A parameter that must be there. */
export function parameter(context: TokenEndpointGrantContext, name: string): string {
  const value = context.oidc.params[name];
  if (typeof value === "string" && value !== "") return value;
  throw new errors.InvalidRequest(`missing required parameter '${name}'`);
}

/** The scope that is asked for, as far as the client may ask for it at all, and what it narrows itself to. */
export function asking({ oidc: { params } }: TokenEndpointGrantContext) {
  return { scope: params.scope, details: params.authorization_details };
}
