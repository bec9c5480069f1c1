import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { logFormat } from "../../../src/audit/format.ts";
import type { AgentName } from "../../../src/core/brand.ts";
import { createSealFile } from "../../../src/crypto/key-file.ts";
import type { Seal } from "../../../src/crypto/seal.ts";
import { openSeal } from "../../../src/crypto/seal.ts";
import { createSealedJson } from "../../../src/crypto/sealed-json.ts";
import { createAgents } from "../../../src/identity/agents.ts";
import type { Clients, NewClient } from "../../../src/identity/clients.ts";
import { clientsOfConfig, createClients } from "../../../src/identity/clients.ts";
import { createInvitations } from "../../../src/identity/invitations.ts";
import { createAgentRecords } from "../../../src/store/agent-records.ts";
import { createClientRecords, createSealedClients } from "../../../src/store/clients.ts";
import { createInvitationRecords } from "../../../src/store/invitations.ts";
import { createJournal } from "../../../src/store/journal.ts";
import type { Journal } from "../../../src/store/journal.ts";
import { createDataKeyStore } from "../../../src/store/keys.ts";
import type { Database } from "../../../src/store/sqlite.ts";
import { openSqlite } from "../../../src/store/sqlite.ts";

const hour = 3_600_000;
const by = { type: "operator", name: "test" } as const;

let folder: string;
let database: Database;
let journal: Journal;
let seal: Seal;
let time: number;
let clients: Clients;
let ended: string[];
const now = (): number => time;

beforeEach(async () => {
  time = Date.UTC(2026, 10, 23);
  ended = [];
  folder = await mkdtemp(join(tmpdir(), "leasehold-clients-"));
  database = await openSqlite(join(folder, "leasehold.db"), now);
  journal = createJournal(database, logFormat, now);
  await createSealFile(join(folder, "key"));
  seal = await openSeal({
    config: { type: "file", path: join(folder, "key") },
    env: {},
    store: createDataKeyStore(database, journal),
    now,
  });
  clients = createClients({
    records: createClientRecords({ database, journal, sealed: createSealedJson(seal), now }),
    configured: clientsOfConfig([
      { name: "fixed" as AgentName, redirectUris: ["https://a.example/"], metadataDocument: "https://a.example/doc" },
    ]),
    now,
    limits: { clients: 3, unusedFor: 24 * 3600, idleFor: 30 * 24 * 3600 },
    ended: ({ id }) => void ended.push(id),
  });
});
afterEach(async () => {
  await journal.drain();
  seal.close();
  await database.close();
  await rm(folder, { recursive: true, force: true });
});

function client(id: string, more: Partial<NewClient> = {}): NewClient {
  return {
    id,
    agent: id.replace(/\W/g, "").slice(0, 60) as AgentName,
    source: "dcr",
    metadata: { client_id: id, client_secret: "s3cret" },
    roles: [],
    ...more,
  };
}

const agents = () => createAgents({ configured: new Map(), records: createAgentRecords(database, journal, now) });

describe("clients", () => {
  it("those that nobody uses go, with their agents; used, frozen and the operator's stay", async () => {
    for (const id of ["unused", "used", "frozen"]) expect(await clients.register(client(id), by)).toBe("registered");
    expect(await clients.add(client("mine", { source: "operator" }), by)).toBe("added");
    expect(await clients.register(client("https://a.example/agent", { voucher: "https://v.example" }), by)).toBe("registered");
    await clients.touch("used");
    await clients.freeze("frozen", by);
    await agents().change("httpsaexampleagent" as AgentName, "agent.disabled", by);
    time += 25 * hour;
    expect((await clients.prune()).map(({ id }) => id)).toEqual(["unused"]);
    expect(await agents().find("unused" as AgentName)).toBeUndefined();
    expect(await clients.find("unused")).toBeUndefined();
    time += 31 * 24 * hour;
    expect((await clients.prune()).map(({ id }) => id)).toEqual(["used"]);
    expect((await clients.list()).map(({ id }) => id)).toEqual([
      "fixed",
      "frozen",
      "https://a.example/agent",
      "https://a.example/doc",
      "mine",
    ]);
    expect(ended).toEqual(["frozen", "unused", "used"]);
  });

  it("one that was removed is known as removed; one named by a URL for good", async () => {
    await clients.register(client("dcr"), by);
    await clients.register(client("https://a.example/agent", { source: "cimd" }), by);
    for (const id of ["dcr", "https://a.example/agent"]) expect(await clients.remove(id, "operator", by)).toBe("changed");
    expect(await clients.remove("dcr", "operator", by)).toBe("unknown");
    expect(await clients.freeze("dcr", by)).toBe("unknown");
    expect(await clients.update("dcr", { metadata: {} }, by)).toBe(false);
    time += 24 * hour;
    await clients.prune();
    expect(await clients.find("dcr")).toMatchObject({ removed: true });
    time += 30 * 24 * hour;
    await clients.prune();
    expect(await clients.find("dcr")).toBeUndefined();
    expect(await clients.find("https://a.example/agent")).toMatchObject({ removed: true });
    expect(await clients.register(client("https://a.example/agent", { source: "cimd" }), by)).toBe("taken");
  });

  it("the file wins, and is changed there", async () => {
    expect(await clients.find("fixed")).toMatchObject({ agent: "fixed", source: "operator", vouched: true });
    expect(await clients.find("https://a.example/doc")).toMatchObject({ agent: "fixed", source: "cimd" });
    expect(await clients.add(client("fixed", { source: "operator" }), by)).toBe("configured");
    expect(await clients.remove("fixed", "operator", by)).toBe("configured");
    expect(await clients.freeze("fixed", by)).toBe("configured");
  });

  it("the operator cannot take over one that registered itself, and may add its own again", async () => {
    await clients.register(client("stranger"), by);
    expect(await clients.add(client("stranger", { source: "operator" }), by)).toBe("taken");
    await clients.add(client("mine", { source: "operator" }), by);
    await clients.remove("mine", "operator", by);
    expect(await clients.add(client("mine", { source: "operator", roles: ["new"] }), by)).toBe("added");
    expect(await clients.find("mine")).toMatchObject({ removed: false });
    expect(await agents().find("mine" as AgentName)).toMatchObject({ roles: ["new"], registeredBy: "operator" });
  });

  it("only so many come by themselves, at the same moment too", async () => {
    const outcomes = await Promise.all(["a", "b", "c", "d", "e"].map((id) => clients.register(client(id), by)));
    expect(outcomes.sort()).toEqual(["full", "full", "registered", "registered", "registered"]);
    expect(await clients.register(client("vouched", { voucher: "https://v.example" }), by)).toBe("registered");
  });

  it("is written down as used once a minute at most", async () => {
    await clients.register(client("busy"), by);
    const used = async () => (await clients.find("busy"))?.lastUsedAt;
    const first = time;
    await clients.touch("busy");
    time += 59_999;
    await clients.touch("busy");
    expect(await used()).toBe(first);
    time += 1;
    await clients.touch("busy");
    expect(await used()).toBe(time);
  });

  it("metadata rests sealed, bound to its client, and moves to a new key", async () => {
    await clients.register(client("one"), by);
    await clients.register(client("two"), by);
    expect(await clients.metadata("one")).toMatchObject({ client_secret: "s3cret" });
    const records = createSealedClients(database, journal);
    const [one, two] = await records.page(undefined, 10);
    if (!one || !two) throw new Error("two records");
    expect(Buffer.from(one.sealed).includes("s3cret")).toBe(false);
    expect((await records.page(one.cursor, 10)).map(({ cursor }) => cursor)).toEqual(["two"]);
    expect(await records.replace(one, two.sealed)).toBe(true);
    await expect(clients.metadata("one")).rejects.toThrow();
    expect(await records.replace(one, one.sealed)).toBe(false);
  });

  it("without its line in the log there is no client", async () => {
    const wrong = clients.register(client("wrong", { name: "\ud800" }), by);
    await expect(wrong).rejects.toMatchObject({ code: "audit_unavailable" });
    expect(await clients.find("wrong")).toBeUndefined();
    expect(await agents().find("wrong" as AgentName)).toBeUndefined();
  });
});

describe("invitations", () => {
  it("each use is one client's, though all come at the same moment; none when it is revoked", async () => {
    const invitations = createInvitations({ records: createInvitationRecords(database, journal, now), now, random: randomBytes });
    const order = { roles: ["r"], uses: 2, ttlSeconds: 60, createdBy: "me" };
    const { invitation } = await invitations.create(order, by);
    const outcomes = await Promise.all(["a", "b", "c", "d"].map((id) => clients.register(client(id, { invitation: invitation.id }), by)));
    expect(outcomes.sort()).toEqual(["registered", "registered", "spent", "spent"]);
    expect(await invitations.list()).toMatchObject([{ usesLeft: 0 }]);

    const revoked = await invitations.create(order, by);
    await invitations.revoke(revoked.invitation.id, by);
    expect(await clients.register(client("e", { invitation: revoked.invitation.id }), by)).toBe("spent");
  });

  it("are listed for a month after their end, and good until then only", async () => {
    const invitations = createInvitations({ records: createInvitationRecords(database, journal, now), now, random: randomBytes });
    const { token, invitation } = await invitations.create({ roles: ["r"], uses: 2, ttlSeconds: 60, createdBy: "me" }, by);
    expect(await invitations.find(token)).toEqual(invitation);
    expect(await clients.register(client("a", { invitation: invitation.id }), by)).toBe("registered");
    expect(await invitations.find(token)).toMatchObject({ usesLeft: 1 });
    time += 60_000;
    expect(await invitations.find(token)).toBeUndefined();
    expect(await clients.register(client("b", { invitation: invitation.id }), by)).toBe("spent");
    time += 30 * 24 * hour;
    await invitations.prune();
    expect(await invitations.list()).toHaveLength(1);
    time += 1;
    await invitations.prune();
    expect(await invitations.list()).toEqual([]);
  });
});
