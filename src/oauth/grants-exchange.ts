import { decodeJwt } from "jose";
import type { Provider, TokenEndpointGrantContext } from "oidc-provider";
import type { AgentName } from "../core/brand.ts";
import type { AgentDirectory } from "../core/ports.ts";
import type { AccessTokens, VerifiedToken } from "../identity/access-token.ts";
import { workloadClient } from "../identity/access-token.ts";
import { Unacceptable } from "./federation-assertion.ts";
import type { Assertions } from "./grants-assertion.ts";
import { mayBecome } from "./grants-assertion.ts";
import type { Issuing } from "./grants-issue.ts";
import { accessTokenType, asking, parameter } from "./grants-issue.ts";
import { lineageOf } from "./grants-lineage.ts";
import { askedFor, common, narrow } from "./grants-narrowing.ts";
import { Refused } from "./grants-refusal.ts";

export interface ExchangeParts {
  /** Ours. */
  readonly issuer: string;
  readonly tokens: Pick<AccessTokens, "verify" | "live" | "principal">;
  readonly assertions: Pick<Assertions, "workload">;
  readonly issuing: Issuing;
  readonly agents: AgentDirectory;
  /** Whether tokens of this agent must be bound to a key. */
  readonly mustBind?: (agent: AgentName) => boolean;
  /** Seconds. */
  readonly accessTokenTtl: number;
}

/** Agents that stand behind one token, the acting one among them. */
const longestChain = 8;
const foreignTypes: ReadonlySet<string> = new Set(["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"]);

export type Exchange = (provider: Provider, context: TokenEndpointGrantContext, grant: string) => Promise<void>;

/**
 * Token exchange (RFC 8693): a workload's token of its platform for one of ours, or one of ours for one that is good for less. The
 * second is how an agent sends another one (`act`), or a process of its own. What comes out is never good for more, nor for longer.
 */
export function createExchange(parts: ExchangeParts): Exchange {
  const { tokens, issuing, agents } = parts;

  /** One of ours, alive, and brought by who holds its key if it has one. A stolen token that is bound stays worthless here as well. */
  async function ours(provider: Provider, context: TokenEndpointGrantContext, token: string): Promise<VerifiedToken> {
    const proved = await issuing.proved(provider, context);
    await tokens.principal(token, { transport: "http", ...(proved ? { proved } : {}) });
    const verified = tokens.verify(token);
    const agent = await agents.find(verified.agent);
    if (!agent || agent.frozen || agent.disabled) throw new Unacceptable("its agent is frozen or disabled");
    // What is worth nothing at the resource is worth nothing here.
    if (!verified.bound && [verified.agent, ...verified.chain].some((name) => parts.mustBind?.(name)))
      throw new Unacceptable("it has to be bound to a key, and is not");
    return verified;
  }

  /** By its own token, in the hands of the client that it was issued to; it acts for nobody yet. */
  async function actorOf(provider: Provider, context: TokenEndpointGrantContext): Promise<VerifiedToken | undefined> {
    const { actor_token: token, actor_token_type: type } = context.oidc.params;
    if (token === undefined && type === undefined) return undefined;
    if (parameter(context, "actor_token_type") !== accessTokenType) throw badType("actor_token_type");
    const actor = await ours(provider, context, parameter(context, "actor_token"));
    if (actor.client !== context.oidc.client.clientId) throw new Unacceptable("the actor token was issued to another client");
    if (actor.chain.length > 0 || actor.account !== undefined) throw new Unacceptable("the actor token acts for somebody already");
    return actor;
  }

  /** Who is going to have the token. Without a client of its own, a workload can bring nothing but its own token. */
  async function childOf(context: TokenEndpointGrantContext, parent: VerifiedToken, actor: VerifiedToken | undefined): Promise<AgentName> {
    if (actor) return actor.agent;
    const { clientId: client, clientAuthMethod } = context.oidc.client;
    if (client !== workloadClient) {
      // A name is no proof: who has no credentials narrows its own tokens, and acts for others with a token of its own.
      if (clientAuthMethod === "none" && parent.client !== client)
        throw new Unacceptable("a client without credentials brought no token of its own");
      return issuing.agentOf(client);
    }
    if (parent.client === workloadClient) return parent.agent;
    throw new Unacceptable("nobody said who is to act: there is neither a client nor an actor token");
  }

  async function delegate(provider: Provider, context: TokenEndpointGrantContext, grant: string): Promise<void> {
    const asked = askedFor(asking(context));
    const subject = parameter(context, "subject_token");
    const parent = await ours(provider, context, subject);
    const actor = await actorOf(provider, context);
    const child = await childOf(context, parent, actor);
    if (!mayBecome(decodeJwt(subject)["may_act"], child)) throw new Unacceptable("its may_act names another actor");

    const itself = child === parent.agent;
    const chain = itself ? parent.chain : [parent.agent, ...parent.chain];
    if (chain.length >= longestChain) throw new Unacceptable(`more than ${longestChain} agents would act for each other`);
    const lineage = lineageOf(actor ? [parent, actor] : [parent]);
    if (!lineage) throw new Unacceptable("it was exchanged too often");
    const { account } = parent;
    // One session with its parent's: what rules about chains count is not forgotten on the way, and both end together.
    const session = parent.session ?? parent.tokenId;
    const reach = narrow(actor ? common(parent, actor) : parent, asked);
    await issuing.issue(provider, context, {
      grant,
      order: { agent: child, chain, ...(account === undefined ? {} : { account }), ...reach, session, lineage },
      ttl: parts.accessTokenTtl,
      until: Math.min(parent.expiresAt, actor?.expiresAt ?? Infinity),
      evidence: { issuer: parts.issuer, subject: parent.tokenId },
      issuedTokenType: accessTokenType,
      stillTrue: () => Promise.all([parent, ...(actor ? [actor] : [])].map((one) => tokens.live(one))),
    });
  }

  return async (provider, context, grant) => {
    const { requested_token_type: wanted, actor_token: actor, actor_token_type: actorType } = context.oidc.params;
    if (wanted !== undefined && wanted !== accessTokenType) throw badType("requested_token_type");
    issuing.checkTarget(context);
    const type = parameter(context, "subject_token_type");
    if (type === accessTokenType) return delegate(provider, context, grant);
    if (!foreignTypes.has(type)) throw badType("subject_token_type");
    if (actor !== undefined || actorType !== undefined)
      throw new Refused(
        "invalid_request",
        "A workload acts for itself: send no actor_token.",
        "an actor token beside the token of a workload",
      );
    const how = { grant, issuedTokenType: accessTokenType };
    return parts.assertions.workload(provider, context, parameter(context, "subject_token"), how);
  };
}

function badType(name: string): Refused {
  return new Refused("invalid_request", `This ${name} is not supported.`, `an unsupported ${name}`);
}
