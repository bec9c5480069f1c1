import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { verifyStore } from "../../src/audit/verify.ts";
import type { Database } from "../../src/demo/database.ts";
import { startDatabase } from "../../src/demo/database.ts";
import { newFolder, openHouse, removeFolder, rolesAt, standardPolicies } from "./house.ts";

const child = fileURLToPath(new URL("./crash.child.ts", import.meta.url));
let database: Database;

beforeAll(async () => {
  database = await startDatabase();
  const client = await database.connect();
  await client.query("CREATE TABLE invoices (id int)");
  await client.end();
});
afterAll(() => database.stop());

/** Runs the scenario in a process that dies at its n-th step. Answers with how many steps it took, had it lived. */
async function crash(folder: string, scenario: string, at: number): Promise<{ readonly died: boolean; readonly steps: number }> {
  const input = JSON.stringify({ folder, scenario, database: { port: database.port, superuser: database.superuser } });
  const env = { ...process.env, CRASH_INPUT: input, ...(at > 0 ? { CRASH_AT: String(at) } : {}) };
  const running = spawn(process.execPath, [child], { env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  running.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  running.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const [code, signal] = (await once(running, "close")) as [number | null, string | null];
  if (code !== 0 && signal !== "SIGKILL") throw new Error(`the process ended with ${code ?? signal}: ${output}`);
  return { died: signal === "SIGKILL", steps: Number(/steps (\d+)/.exec(output)?.[1] ?? 0) };
}

/** What a restart makes of it. */
async function restart(folder: string) {
  const open = await openHouse({ database, folder });
  try {
    await open.house.reaper.recover();
    await open.house.reaper.round();
    const live = await open.house.leases.list({ live: true });
    const all = await open.house.leases.list({ limit: 1000 });
    const roles = await rolesAt(database);
    const verified = await verifyStore(open.house.log, { notes: [], verifierKey: open.house.checkpointer.verifierKey });
    return { live, all, roles, verified };
  } finally {
    for (const lease of await open.house.leases.list({ live: true })) await open.house.operator.revoke(lease.id, "teardown");
    await open.close();
  }
}

describe.each(["grant", "revoke"] as const)("P-2 PL-08 a broker that is killed during %s", (scenario) => {
  it("leaves no credential without a lease and no lease without an end, whichever step it dies at", { timeout: 240_000 }, async () => {
    const folder = await newFolder(standardPolicies);
    try {
      const { steps } = await crash(folder, scenario, 0);
      expect(steps).toBeGreaterThan(8);
      await restart(folder);
      for (let at = 1; at <= steps; at += 1) {
        const { died } = await crash(folder, scenario, at);
        // How many statements a revocation takes varies by a few: sessions are looked for until there are none.
        if (!died && at > steps - 6) break;
        expect(died, `step ${at} of ${steps}`).toBe(true);
        const after = await restart(folder);
        const active = after.live.filter((lease) => lease.state === "active").map((lease) => `lh_${lease.id}`);
        // A lease whose issue was on record before the kill stays; everything else is undone.
        expect(after.roles, `step ${at} of ${steps}`).toEqual(active.toSorted());
        expect(
          after.live.filter((lease) => lease.state !== "active"),
          `step ${at} of ${steps}`,
        ).toEqual([]);
        expect(after.verified.ok, `step ${at} of ${steps}`).toBe(true);
        expect(await rolesAt(database)).toEqual([]);
      }
    } finally {
      await removeFolder(folder);
    }
  });
});
