import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { leasehold } from "../../src/demo/broker.ts";

const leftovers = (): readonly string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("leasehold-demo-"));

describe("leasehold demo", () => {
  it("tells the whole story on a real PostgreSQL, step by step, and leaves nothing behind", { timeout: 120_000 }, async () => {
    const before = new Set(leftovers());
    const { code, stdout, stderr } = await leasehold(["demo", "--json"], { folder: tmpdir() });
    const steps = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { step: string; ok: boolean; seen?: readonly string[] });
    expect(
      steps.filter((step) => !step.ok),
      stderr,
    ).toEqual([]);
    expect(steps.map((step) => step.step)).toEqual([
      "database",
      "init",
      "serve",
      "connect",
      "use",
      "read-only",
      "deny",
      "inject",
      "revoke",
      "freeze",
      "stdio",
      "audit",
      "canary",
      "summary",
    ]);
    expect(code).toBe(0);
    expect(leftovers().filter((name) => !before.has(name))).toEqual([]);
  });
});
