import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";
import { z } from "zod";
import { Failure } from "../core/errors.ts";
import type { Vault } from "../core/ports.ts";
import { adminSchema, tlsSchema } from "./postgres-spec.ts";
import { createTurns } from "./postgres-turns.ts";

/** Where a role lives and who may manage it. Part of every handle, so it holds references and no secrets. */
export const placeSchema = z.object({
  host: z.string(),
  port: z.number(),
  database: z.string(),
  tls: tlsSchema,
  admin: adminSchema,
});
export type Place = z.output<typeof placeSchema>;

/** Connections with the rights to make and end roles. Short-lived, few, and never used for an agent's queries. */
export interface Admins {
  /**
   * Runs `work` on a connection of its own. An abort ends the connection, and with it whatever transaction
   * was open. Throws `target_unavailable` or `vault_unavailable`, the reason kept private in `cause`.
   */
  run<T>(place: Place, signal: AbortSignal, work: (client: Client) => Promise<T>): Promise<T>;
  /** The same for a part of other work at the same server: it waits for no turn, because its own is part of that. */
  also<T>(place: Place, signal: AbortSignal, work: (client: Client) => Promise<T>): Promise<T>;
  /** Ends idle connections. Connections in use end with their work. */
  close(): Promise<void>;
}

export interface AdminParts {
  readonly vault: (name: string) => Vault;
  /** Milliseconds that an unused connection is kept. Bounds how long an old admin password outlives its rotation. */
  readonly idle?: number;
}

/** Turns at once at one server: a hundred requests must not take the connections that its own clients need. */
const atOnce = 8;
const connectTimeout = 5_000;
/** Milliseconds that a server which is starting up is waited for. */
const startupPatience = 3_000;
/** Idle connections kept per target. */
const kept = 4;

const loginSchema = z.object({ username: z.string().min(1), password: z.string() });

interface Held {
  readonly client: Client;
  readonly timer: NodeJS.Timeout;
}

export function createAdmins(parts: AdminParts): Admins {
  const { vault, idle = 20_000 } = parts;
  const turns = createTurns(atOnce);
  const shelves = new Map<string, Held[]>();
  let closed = false;

  function take(key: string): Client | undefined {
    const held = shelves.get(key)?.pop();
    if (!held) return undefined;
    clearTimeout(held.timer);
    keepsAlive(held.client, true);
    return held.client;
  }

  function putBack(key: string, client: Client): void {
    const shelf = shelves.get(key) ?? [];
    if (closed || shelf.length >= kept) return void client.end();
    const held: Held = { client, timer: setTimeout(() => drop(key, client), idle).unref() };
    keepsAlive(client, false);
    shelf.push(held);
    shelves.set(key, shelf);
  }

  function drop(key: string, client: Client): void {
    const shelf = shelves.get(key);
    const at = shelf?.findIndex((held) => held.client === client) ?? -1;
    if (!shelf || at < 0) return;
    clearTimeout(shelf[at]?.timer);
    shelf.splice(at, 1);
    if (shelf.length === 0) shelves.delete(key);
    void client.end().catch(() => {});
  }

  async function login(place: Place, signal: AbortSignal): Promise<{ user: string; password: string }> {
    try {
      const found = await vault(place.admin.vault).read(place.admin.secret, signal);
      if (!found) throw new Error(`there is no secret ${place.admin.secret} in vault ${place.admin.vault}`);
      // A parser's complaint may quote what it could not parse, so it is replaced and not passed on.
      const text = found.value.use((bytes) => bytes.toString("utf8"));
      const parsed = loginSchema.safeParse(json(text));
      if (!parsed.success) throw new Error(`secret ${place.admin.secret} is not {"username": "…", "password": "…"}`);
      return { user: parsed.data.username, password: parsed.data.password };
    } catch (cause) {
      throw new Failure("vault_unavailable", {}, { cause });
    }
  }

  async function connect(key: string, place: Place, signal: AbortSignal): Promise<Client> {
    const { Client } = await import("pg");
    const until = Date.now() + startupPatience;
    for (;;) {
      const client = new Client({
        ...(await login(place, signal)),
        host: place.host,
        port: place.port,
        database: place.database,
        ssl: place.tls === true ? true : place.tls,
        application_name: "leasehold",
        statement_timeout: 12_000,
        connectionTimeoutMillis: connectTimeout,
      });
      // Unheard, the loss of an idle connection would end the process.
      client.on("error", () => drop(key, client));
      const stop = (): void => void client.end().catch(() => {});
      signal.addEventListener("abort", stop, { once: true });
      try {
        await client.connect();
        signal.throwIfAborted();
        return client;
      } catch (problem) {
        stop();
        if (sqlState(problem) !== "57P03" || Date.now() > until || signal.aborted) throw problem;
      } finally {
        signal.removeEventListener("abort", stop);
      }
      await pause(100, undefined, { signal });
    }
  }

  async function once<T>(place: Place, signal: AbortSignal, work: (client: Client) => Promise<T>): Promise<T> {
    const key = JSON.stringify([place.host, place.port, place.database, place.tls, place.admin.vault, place.admin.secret]);
    let client: Client | undefined;
    const stop = (): void => void client?.end().catch(() => {});
    try {
      signal.throwIfAborted();
      client = take(key) ?? (await connect(key, place, signal));
      signal.addEventListener("abort", stop, { once: true });
      const result = await work(client);
      signal.throwIfAborted();
      putBack(key, client);
      return result;
    } catch (problem) {
      // What state the session is in is anyone's guess, so nobody gets it again.
      stop();
      throw problem;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  async function again<T>(place: Place, signal: AbortSignal, work: (client: Client) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await once(place, signal, work);
      } catch (problem) {
        // Somebody else changed the same rights at the same moment. All our work can be done again from its start.
        if (attempt < 5 && isCollision(problem) && !signal.aborted) continue;
        throw problem instanceof Failure ? problem : new Failure("target_unavailable", {}, { cause: problem });
      }
    }
  }

  return {
    async run(place, signal, work) {
      const end = await turns.take(`${place.host} ${place.port}`, signal).catch((cause: unknown) => {
        throw new Failure("target_unavailable", {}, { cause });
      });
      try {
        return await again(place, signal, work);
      } finally {
        end();
      }
    },

    also: again,

    async close() {
      closed = true;
      const all = [...shelves].flatMap(([key, shelf]) => shelf.map((held) => ({ key, client: held.client })));
      for (const { key, client } of all) drop(key, client);
    },
  };
}

/** Whether an open connection keeps the process running. `pg` has both methods, its types have neither. */
function keepsAlive(client: Client, yes: boolean): void {
  const socket = client as Client & { readonly ref?: () => void; readonly unref?: () => void };
  if (yes) socket.ref?.();
  else socket.unref?.();
}

/** A deadlock, or a row of the catalogue that two sessions changed at once, which has no SQLSTATE of its own. */
function isCollision(problem: unknown): boolean {
  const state = sqlState(problem);
  return state === "40P01" || (state === "XX000" && problem instanceof Error && problem.message === "tuple concurrently updated");
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The five characters of PostgreSQL's error code, where the server gave one (PostgreSQL manual, appendix A). */
export function sqlState(thrown: unknown): string | undefined {
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}
