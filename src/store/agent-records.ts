import type { AgentName } from "../core/brand.ts";
import type { AuditEvent } from "../core/event.ts";
import type { Actor } from "../core/event.ts";
import { unreachable } from "../core/unreachable.ts";
import type { Journal } from "./journal.ts";
import { prepared } from "./prepared.ts";
import type { AgentRow } from "./schema.ts";
import type { Database } from "./sqlite.ts";

interface Added {
  readonly roles: readonly string[];
  readonly owner?: string;
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
      const set = columnsFor(change, now());
      const event: AuditEvent = { kind: change.kind, agent: name, actor };
      await journal.write(async (tx) => {
        await tx
          .insertInto("agents")
          .values({ name, ...untouched, ...set })
          .onConflict((conflict) => conflict.column("name").doUpdateSet(set))
          .execute();
        return { result: undefined, events: [event] };
      });
    },
  };
}

const findAgent = prepared((db, { name }: { name: string }) => db.selectFrom("agents").selectAll().where("name", "=", name));

const untouched = { roles: null, owner: null, added_at: null, frozen_at: null, disabled_at: null, tokens_valid_from: 0 };

function columnsFor(change: Change, at: number): Partial<AgentRow> {
  switch (change.kind) {
    case "agent.added":
      return { roles: JSON.stringify(change.roles), owner: change.owner ?? null, added_at: at };
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
      return unreachable(change);
  }
}

function fromRow(row: AgentRow) {
  return {
    name: row.name as AgentName,
    ...(row.roles === null
      ? {}
      : { added: { roles: JSON.parse(row.roles) as string[], ...(row.owner === null ? {} : { owner: row.owner }) } }),
    frozen: row.frozen_at !== null,
    disabled: row.disabled_at !== null,
    tokensValidFrom: row.tokens_valid_from,
  };
}
