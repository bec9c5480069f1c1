import { randomUUID } from "node:crypto";
import type { AgentName, CorrelationId, CredentialName, LeaseId } from "../../../src/core/brand.ts";
import { isLeaseId } from "../../../src/core/brand.ts";
import { createBroker } from "../../../src/core/broker.ts";
import type { Broker } from "../../../src/core/broker.ts";
import type { CatalogueEntry } from "../../../src/core/catalogue.ts";
import { Failure } from "../../../src/core/errors.ts";
import type { AuditEvent } from "../../../src/core/event.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { createJudge } from "../../../src/core/judge.ts";
import type { Lease } from "../../../src/core/lease.ts";
import { liveStates } from "../../../src/core/lease.ts";
import type { CredentialEngine, LeaseBook, Performer } from "../../../src/core/ports.ts";
import type { Agent, Principal } from "../../../src/core/principal.ts";
import type { Delivery, OperationKind } from "../../../src/core/request.ts";
import { createRetirement, retirementDefaults } from "../../../src/core/retire.ts";

/** What an agent may do with a credential in the tiny house. */
export type Rights = Readonly<Record<string, Readonly<Record<string, readonly (Delivery | "list")[]>>>>;

export interface TinyHouse {
  readonly broker: Broker;
  readonly events: AuditEvent[];
  /** Changes what the agent's record says from the next call on. */
  set(agent: string, change: Partial<Agent>): void;
  permit(rights: Rights): void;
  /** What the performers do next. */
  perform: (input: JsonObject, signal: AbortSignal) => Promise<JsonObject>;
  agent(name: AgentName): Promise<Agent | undefined>;
}

export const newCorrelation = (): CorrelationId => randomUUID() as CorrelationId;

const credentials = ["billing-db/readonly", "crm/api"];

/** The real broker on parts that fit on a page: for tests of faces, which have nothing to do with stores and targets. */
export function tinyHouse(initial: Rights): TinyHouse {
  let rights = initial;
  const agents = new Map<string, Agent>();
  const events: AuditEvent[] = [];
  const leases = new Map<LeaseId, Lease>();
  const handles = new Map<string, LeaseId>();
  const entries = credentials.map(entryOf);
  let last = 0;
  const now = Date.now;

  const audit = { append: async (event: AuditEvent) => ({ seq: BigInt(events.push(event)) }) };
  const book = {
    async open(lease, _quota, event) {
      leases.set(lease.id, lease);
      events.push(event);
      return "opened" as const;
    },
    async move(lease, to, patch, event) {
      const { material: _gone, ...rest } = patch;
      const moved = { ...lease, ...rest, state: to, version: lease.version + 1 };
      leases.set(lease.id, moved);
      events.push(event);
      return moved;
    },
    async extend(lease, expiresAt, event) {
      const later = { ...lease, expiresAt, version: lease.version + 1 };
      leases.set(lease.id, later);
      events.push(event);
      return later;
    },
    postpone: async (lease) => lease,
    find: async (id) => leases.get(id),
    material: async () => new Uint8Array(),
    list: async ({ agent, credential, live }) =>
      [...leases.values()].filter(
        (one) =>
          (!agent || one.agent === agent) &&
          (!credential || one.credential === credential) &&
          (!live || (liveStates as readonly string[]).includes(one.state)),
      ),
    due: async () => [],
  } satisfies LeaseBook;
  const material = { fields: { username: "lh_tiny", password: "not-a-secret" } };
  const engine: CredentialEngine = {
    operations: ({ spec }) => [spec["operation"] as OperationKind],
    plan: () => ({}),
    mint: async () => material,
    undo: async () => undefined,
  };
  const engines = { tiny: engine };
  const performer = (kind: OperationKind): Performer => ({
    kind,
    prepare: (_entry, input) => ({
      facts: kind === "sql" ? { kind, verbs: ["select"], tables: [] } : { kind, method: "GET", host: "crm.example", path: "/" },
      perform: async (_material, _lease, signal) => ({ output: await house.perform(input, signal), figures: {} }),
    }),
  });
  const performers = [performer("sql"), performer("http")];
  const redactor = { remember: () => undefined, forget: () => undefined, scrub: <T extends JsonObject>(clean: T) => ({ clean, hits: 0 }) };
  const allowed = (agent: string, credential: string, action: string) =>
    rights[agent]?.[credential]?.some((one) => one === action) ?? false;
  const authorizer = {
    bundle: "tiny",
    decide: async ({ agent, entry, action }: { agent: Agent; entry: CatalogueEntry; action: string }) =>
      allowed(agent.name, entry.name, action)
        ? { outcome: "allow" as const, policies: ["p1"], obligations: {} }
        : { outcome: "deny" as const, policies: ["p0"], reason: "default" as const },
    couldEver: (agent: Agent, action: string, entry: CatalogueEntry) => allowed(agent.name, entry.name, action),
  };
  const catalogue = { list: () => entries, find: (name: CredentialName) => entries.find((one) => one.name === name) };
  const directory = { find: async (name: AgentName) => agents.get(name) };
  const exposures = { isExposed: async () => false, mark: async () => undefined };
  const sessions = {
    facts: () => ({ startedAt: 0, leases: 0, lentLabels: [], calledTools: [] }),
    lent: () => undefined,
    called: () => undefined,
  };
  const judge = createJudge({ agents: directory, catalogue, authorizer, exposures, sessions, audit, now });
  const limits = retirementDefaults;
  const retirement = createRetirement({ leases: book, engines, performers, redactor, now, limits, alarm: () => undefined });
  const broker = createBroker({
    judge,
    retirement,
    catalogue,
    authorizer,
    audit,
    leases: book,
    engines,
    performers,
    keeper: { seal: () => new Uint8Array(), open: () => material, digest: () => "hmac:" },
    handles: {
      async issue(lease) {
        const handle = `lhh_${randomUUID()}`;
        handles.set(handle, lease.id);
        return { handle, expiresAt: now() + 60_000 };
      },
      async redeem(handle) {
        const id = handles.get(handle);
        if (!id) throw new Failure("not_found", { what: "handle" });
        handles.delete(handle);
        return id;
      },
    },
    exposures,
    sessions,
    redactor,
    reveal: plain,
    newLeaseId: () => {
      const id = `01${String(++last).padStart(24, "0")}`;
      if (!isLeaseId(id)) throw new Error(id);
      return id;
    },
    now,
    instance: "tiny",
    leasesPerAgent: 10,
    mintDeadline: 1_000,
  });

  const house: TinyHouse = {
    broker,
    events,
    perform: async (input) => ({ echoed: input }),
    permit: (next) => {
      rights = next;
    },
    set: (agent, change) => {
      const before = agents.get(agent) ?? agentOf(agent as AgentName);
      agents.set(agent, { ...before, ...change });
    },
    agent: directory.find,
  };
  for (const agent of Object.keys(initial)) house.set(agent, {});
  return house;
}

export function plain({ fields }: { readonly fields: Readonly<Record<string, unknown>> }): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, String(value)]));
}

export function principal(agent: string, more: Partial<Principal> = {}): Principal {
  return {
    agent: agent as AgentName,
    kind: "oauth",
    chain: [],
    authenticated: { method: "access-token", senderConstrained: false, at: 0 },
    session: "s1",
    transport: "http",
    ...more,
  };
}

function agentOf(name: AgentName): Agent {
  return { name, roles: ["tester"], registeredBy: "operator", frozen: false, disabled: false, tokensValidFrom: 0 };
}

function entryOf(name: string): CatalogueEntry {
  return {
    name: name as CredentialName,
    engine: "tiny",
    description: `Access to ${name}`,
    labels: { env: "test" },
    ttl: { default: 300, max: 900 },
    maxLeases: 10,
    spec: { operation: name.endsWith("readonly") ? "sql" : "http" },
  };
}
