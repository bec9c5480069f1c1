import { randomInt } from "node:crypto";
import { inspect } from "node:util";
import type * as Vitest from "vitest";
import type { LeaseId } from "../src/core/brand.ts";
import { isAgentName, isLeaseId } from "../src/core/brand.ts";
import type { CatalogueEntry } from "../src/core/catalogue.ts";
import type { CredentialEngine, Handle, Material, Order } from "../src/core/ports.ts";
import { Secret } from "../src/core/secret.ts";

export interface EngineUnderTest {
  readonly engine: CredentialEngine;
  readonly entry: CatalogueEntry;
  /** The entry after an operator changed it beyond recognition: a handle must not need it. */
  readonly changed?: CatalogueEntry;
  /** Tries the credential at the target, from the outside. */
  login(material: Material): Promise<"ok" | "refused">;
  /** A session opened with the credential. `alive` uses it. */
  openSession(material: Material): Promise<{ alive(): Promise<boolean>; close(): Promise<void> }>;
  /** Values that must show up nowhere, e.g. the password of the engine's own account. */
  readonly canaries: readonly string[];
  stop(): Promise<void>;
}

type Tools = Pick<typeof Vitest, "describe" | "it" | "expect" | "beforeAll" | "afterAll">;

/** What every engine that mints at a target promises. Run it against a real target. */
export function engineContract(name: string, tools: Tools, setup: () => Promise<EngineUnderTest>): void {
  const { describe, it, expect, beforeAll, afterAll } = tools;

  describe(`engine contract: ${name}`, () => {
    let under: EngineUnderTest;
    beforeAll(async () => {
      under = await setup();
    });
    afterAll(async () => under.stop());

    const order = (): Order => orderFor(under.entry);
    const soon = (): AbortSignal => AbortSignal.timeout(15_000);
    async function minted(): Promise<{ order: Order; handle: Handle; material: Material }> {
      const one = order();
      const handle = under.engine.plan(one);
      return { order: one, handle, material: await under.engine.mint(one, handle, soon()) };
    }

    it("plans the same name for the same lease, as JSON, without touching the target", async () => {
      const one = order();
      const handle = under.engine.plan(one);
      expect(under.engine.plan(one)).toEqual(handle);
      expect(under.engine.plan(order())).not.toEqual(handle);
      expect(JSON.parse(JSON.stringify(handle))).toEqual(handle);
      expect(await survey(under)).not.toContain(under.engine.nameOf?.(handle));
    });

    it("mints what can log in, and undoes it: the login fails and the open session is dead (PL-11)", async () => {
      const { handle, material } = await minted();
      expect(await under.login(material)).toBe("ok");
      const session = await under.openSession(material);
      expect(await session.alive()).toBe(true);
      await under.engine.undo(handle, soon());
      expect(await under.login(material)).toBe("refused");
      expect(await session.alive()).toBe(false);
      await session.close();
    });

    it("undoes what is already gone, what was never minted, and from several sides at once (PL-10)", async () => {
      const { handle, material } = await minted();
      await Promise.all([1, 2, 3].map(() => under.engine.undo(handle, soon())));
      await under.engine.undo(handle, soon());
      expect(await under.login(material)).toBe("refused");
      await under.engine.undo(under.engine.plan(order()), soon());
    });

    it("undoes from the stored handle alone, after the entry was changed", async () => {
      const { handle, material } = await minted();
      const stored = JSON.parse(JSON.stringify(handle)) as Handle;
      if (under.changed) under.engine.plan(orderFor(under.changed));
      await under.engine.undo(stored, soon());
      expect(await under.login(material)).toBe("refused");
    });

    it("lists what it minted until it is undone", async () => {
      const { handle } = await minted();
      const label = under.engine.nameOf?.(handle);
      if (under.engine.survey) expect(await survey(under)).toContain(label);
      await under.engine.undo(handle, soon());
      expect(await survey(under)).not.toContain(label);
    });

    it("extends what lives", async () => {
      const { handle, material, order: one } = await minted();
      await under.engine.extend?.(handle, one.expiresAt + 60_000, soon());
      expect(await under.login(material)).toBe("ok");
      await under.engine.undo(handle, soon());
    });

    it("leaves nothing behind after a mint that was cut short at any moment and then undone (PL-08)", async () => {
      for (const delay of [0, 1, 3, 6, 10, 20]) {
        const one = order();
        const handle = under.engine.plan(one);
        await under.engine.mint(one, handle, AbortSignal.timeout(delay)).catch(() => {});
        await under.engine.undo(handle, soon());
        expect(await survey(under)).not.toContain(under.engine.nameOf?.(handle));
      }
    });

    it("shows no secret in a handle, in an inspected material, or in an error (EX-06)", async () => {
      const { handle, material, order: one } = await minted();
      const secrets = [...under.canaries, ...secretValues(material)];
      const again = await under.engine.mint(one, handle, soon()).catch((problem: unknown) => problem);
      const seen = [handle, material, again].map((value) => `${inspect(value, { depth: 20 })} ${JSON.stringify(value)}`).join("\n");
      for (const secret of secrets) expect(seen.includes(secret)).toBe(false);
      await under.engine.undo(handle, soon());
    });
  });
}

/** A fresh lease for five minutes. */
export function orderFor(entry: CatalogueEntry, lease: LeaseId = newLeaseId(), expiresAt: number = Date.now() + 300_000): Order {
  const agent = "reporter";
  if (!isAgentName(agent)) throw new TypeError("not an agent name");
  return { lease, entry, agent, expiresAt };
}

function newLeaseId(): LeaseId {
  const id = Array.from({ length: 26 }, () => "0123456789abcdefghjkmnpqrstvwxyz"[randomInt(32)]).join("");
  if (!isLeaseId(id)) throw new TypeError("not a lease id");
  return id;
}

async function survey(under: EngineUnderTest): Promise<readonly string[]> {
  return (await under.engine.survey?.(under.entry, AbortSignal.timeout(15_000))) ?? [];
}

function secretValues(material: Material): readonly string[] {
  return Object.values(material.fields).flatMap((value) => (value instanceof Secret ? [value.use((bytes) => bytes.toString("utf8"))] : []));
}
