import type { Provider, TokenEndpointGrantContext } from "oidc-provider";
import type { AgentName } from "../core/brand.ts";
import type { Actor } from "../core/event.ts";
import { isScope } from "../core/scope.ts";
import { workloadClient } from "../identity/access-token.ts";
import type { Agents } from "../identity/agents.ts";
import type { UserDirectory } from "../identity/directory.ts";
import { peek, Unacceptable } from "./federation-assertion.ts";
import type { Enterprise, ManagedSignIn } from "./federation-enterprise.ts";
import { idJag } from "./federation-enterprise.ts";
import type { Federation, Workload } from "./federation.ts";
import { askedFor, common } from "./grants-narrowing.ts";
import type { Issuing } from "./grants-issue.ts";
import { asking } from "./grants-issue.ts";
import { Refused } from "./grants-refusal.ts";
import { actorOf } from "./issue.ts";

export interface AssertionParts {
  readonly federation: Federation;
  readonly enterprise: Enterprise;
  readonly issuing: Issuing;
  readonly agents: Pick<Agents, "find" | "add">;
  readonly users: UserDirectory;
  /** The account of somebody that an identity provider vouches for, made when there is none; `undefined` for those who may not come. */
  readonly ensureUser: (person: ManagedSignIn["person"], address: string) => Promise<string | undefined>;
  /** Seconds. */
  readonly accessTokenTtl: number;
}

/** Token of somebody else's, brought in exchange for one of ours. */
export interface Assertions {
  /** By either grant: whoever has the token of a workload is that workload. */
  workload(provider: Provider, context: TokenEndpointGrantContext, token: string, how: How): Promise<void>;
  /** RFC 7523 section 2.1: of a workload, or of a person (ID-JAG). */
  bearer(provider: Provider, context: TokenEndpointGrantContext, assertion: string, grant: string): Promise<void>;
}

interface How {
  readonly grant: string;
  readonly issuedTokenType?: string;
}

export function createAssertions(parts: AssertionParts): Assertions {
  const { federation, enterprise, issuing, agents, users } = parts;

  /** Makes the agent on its first visit. One that somebody else registered is never taken over by what a workload is called. */
  async function admit({ agent, named, roles }: Workload, by: Actor): Promise<void> {
    const known = await agents.find(agent);
    const source = known?.registeredBy;
    if (known && source !== "federation" && !(named && source === "operator"))
      throw new Unacceptable(`its agent ${agent} exists, and was not made for workloads`);
    const current = known && (source !== "federation" || sameNames(known.roles, roles));
    if (!current) await agents.add(agent, { roles, registeredBy: "federation" }, by);
  }

  async function workload(provider: Provider, context: TokenEndpointGrantContext, token: string, how: How): Promise<void> {
    issuing.checkTarget(context);
    const asked = askedFor(asking(context));
    if (context.oidc.client.clientId !== workloadClient) throw new Unacceptable("a registered client brought the token of a workload");
    const found = await federation.recognise(token);
    if (!mayBecome(found.mayAct, found.agent)) throw new Unacceptable("its may_act names another actor");
    await admit(found, actorOf(context));
    const { agent, ttl, until, evidence } = found;
    await issuing.issue(provider, context, { ...how, order: { agent, ...asked }, ttl, until, evidence });
  }

  async function person(provider: Provider, context: TokenEndpointGrantContext, assertion: string, grant: string): Promise<void> {
    issuing.checkTarget(context);
    const asked = askedFor(asking(context));
    const { clientId } = context.oidc.client;
    if (clientId === workloadClient) throw new Unacceptable("an assertion for a client came without one");
    const agent = await issuing.agentOf(clientId);
    const { person: who, scope } = await enterprise.signIn(assertion, clientId);
    const reach = common(scope === undefined ? {} : { scopes: scope.split(" ").filter(isScope) }, asked);
    if (reach.scopes?.length === 0)
      throw new Refused("invalid_scope", "Nothing of this scope is granted.", "asked for none of the assertion's scopes");
    const account = await parts.ensureUser(who, context.ip);
    const user = account === undefined ? undefined : await users.find(account);
    if (account === undefined || !user || user.disabled || user.frozen) throw new Unacceptable("its user is disabled or frozen");
    const evidence = { issuer: who.issuer, subject: who.subject };
    await issuing.issue(provider, context, { grant, order: { agent, account, ...reach }, ttl: parts.accessTokenTtl, evidence });
  }

  return {
    workload,
    bearer: (provider, context, assertion, grant) =>
      peek(assertion).typ === idJag ? person(provider, context, assertion, grant) : workload(provider, context, assertion, { grant }),
  };
}

/** Whether `may_act` (RFC 8693 section 4.4), where there is one, names this agent. */
export function mayBecome(mayAct: unknown, agent: AgentName): boolean {
  if (mayAct === undefined) return true;
  return typeof mayAct === "object" && mayAct !== null && "sub" in mayAct && mayAct.sub === agent && Object.keys(mayAct).length === 1;
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name));
}
