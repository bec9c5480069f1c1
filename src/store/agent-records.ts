import type { AgentName } from "../core/brand.ts";
import type { AuditEvent } from "../core/event.ts";
import type { Actor } from "../core/event.ts";
import type { Agent } from "../core/principal.ts";
import { unreachable } from "../core/unreachable.ts";
import type { Journal, Transaction } from "./journal.ts";
import { prepared } from "./prepared.ts";
import type { AgentRow } from "./schema.ts";
import type { Database } from "./sqlite.ts";

interface Added {
  readonly roles: readonly string[];
  readonly owner?: string;
  /** Absent: the operator. Who came first counts: a change of roles later changes nothing about it. */
  readonly registeredBy?: Agent["registeredBy"];
}

type Switch = "agent.frozen" | "agent.unfrozen" | "agent.disabled" | "agent.enabled" | "token.revoked";
type Change = ({ readonly kind: "agent.added" } & Added) | { readonly kind: Switch };

/** What operators and events added to the agents of the configuration file. */
export function createAgentRecords(database: Database, journal: Journal, now: () => number) {
  const { read } = database;

  return {
    async find(name: AgentName) {
      const [row] = (await findAgent(read, { name })).rows;
      return row && fromRow(row);
    },

    async list() {
      return (await read.selectFrom("agents").selectAll().orderBy("name").execute()).map(fromRow);
    },

    async apply(name: AgentName, change: Change, actor: Actor) {
      const event: AuditEvent = { kind: change.kind, agent: name, actor };
      await journal.write(async (tx) => {
        if (change.kind === "agent.added") await putAgent(tx, name, change, now());
        else await put(tx, name, columnsFor(change.kind, now()), null);
        return { result: undefined, events: [event] };
      });
    },
  };
}

/** An agent that was not there before; fails when it was. */
export async function insertAgent(tx: Transaction, name: AgentName, agent: Added, at: number): Promise<void> {
  await tx
    .insertInto("agents")
    .values({ name, ...untouched, ...addedColumns(agent, at), source: sourceOf(agent) })
    .execute();
}

/** An agent, or other roles for one that was added before. */
export function putAgent(tx: Transaction, name: AgentName, agent: Added, at: number): Promise<void> {
  return put(tx, name, addedColumns(agent, at), sourceOf(agent));
}

/** Every token of this agent, and of those that act for it, is void from now on. */
export async function voidTokens(tx: Transaction, name: string, at: number): Promise<void> {
  await tx
    .updateTable("agents")
    .set({ tokens_valid_from: at + 1 })
    .where("name", "=", name)
    .execute();
}

async function put(tx: Transaction, name: AgentName, set: Partial<AgentRow>, source: string | null): Promise<void> {
  await tx
    .insertInto("agents")
    .values({ name, ...untouched, ...set, source })
    .onConflict((conflict) => conflict.column("name").doUpdateSet(set))
    .execute();
}

const findAgent = prepared((db, { name }: { name: string }) => db.selectFrom("agents").selectAll().where("name", "=", name));

const untouched = { roles: null, owner: null, added_at: null, frozen_at: null, disabled_at: null, tokens_valid_from: 0 };

function addedColumns({ roles, owner }: Added, at: number) {
  return { roles: JSON.stringify(roles), owner: owner ?? null, added_at: at };
}

function sourceOf({ registeredBy }: Added): string | null {
  return registeredBy === undefined || registeredBy === "operator" ? null : registeredBy;
}

function columnsFor(kind: Switch, at: number): Partial<AgentRow> {
  switch (kind) {
    case "agent.frozen":
      return { frozen_at: at };
    case "agent.unfrozen":
      return { frozen_at: null };
    case "agent.disabled":
      return { disabled_at: at };
    case "agent.enabled":
      return { disabled_at: null };
    case "token.revoked":
      return { tokens_valid_from: at + 1 };
    default:
      return unreachable(kind);
  }
}

function fromRow(row: AgentRow) {
  const owner = row.owner === null ? {} : { owner: row.owner };
  const registeredBy = (row.source ?? "operator") as Agent["registeredBy"];
  return {
    name: row.name as AgentName,
    ...(row.roles === null ? {} : { added: { roles: JSON.parse(row.roles) as string[], ...owner, registeredBy } }),
    frozen: row.frozen_at !== null,
    disabled: row.disabled_at !== null,
    tokensValidFrom: row.tokens_valid_from,
  };
}
