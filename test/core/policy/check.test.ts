import { existsSync } from "node:fs";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { checkPolicies } from "../../../src/policy/check.ts";
import { loadBundle } from "../../../src/policy/directory.ts";
import { sayProblem } from "../../../src/policy/problem.ts";
import { schemaText } from "../../../src/policy/schema.ts";
import { starterPolicies } from "../../../src/policy/starter.ts";
import { parseBundle, warningsOf } from "../../../src/policy/bundle.ts";
import { createAuthorizer } from "../../../src/policy/cedar.ts";
import { ask, rule, temporary } from "./sample.ts";

describe("policy check", () => {
  it("counts what is sound", async () => {
    await temporary(async (directory) => {
      await mkdir(join(directory, "team"));
      await writeFile(join(directory, "a.cedar"), rule("permit", "a"));
      await writeFile(join(directory, "team", "b.cedar"), rule("permit", "b"));
      expect(await checkPolicies(directory)).toMatchObject({
        ok: true,
        policies: 2,
        problems: [],
        warnings: [],
        bundle: expect.stringMatching(/^[0-9a-f]{64}$/),
      });
    });
  });

  it("says what is not, where an editor can go to", async () => {
    await temporary(async (directory) => {
      await writeFile(join(directory, "a.cedar"), "permit (principal, action, resource)");
      const { ok, problems } = await checkPolicies(directory);
      expect(ok).toBe(false);
      expect(problems.map(sayProblem)).toEqual([expect.stringMatching(/a\.cedar:1: unexpected end of input; expected `;`/)]);
    });
  });

  it("warns of words that are believed, and of an empty directory", async () => {
    await temporary(async (directory) => {
      expect((await checkPolicies(directory)).warnings).toEqual([
        { file: directory, line: 1, problem: "no policies here, so everything is denied" },
      ]);
      await writeFile(join(directory, "a.cedar"), `\n${rule("permit", "a", { when: 'context.purpose == "please"' })}`);
      expect((await checkPolicies(directory)).warnings).toMatchObject([
        { line: 2, problem: expect.stringMatching(/^a: grants on the content of purpose or ticket alone/) },
      ]);
    });
  });

  it("reports a directory that is not there, and a file that is not text", async () => {
    await temporary(async (directory) => {
      expect(await checkPolicies(join(directory, "nowhere"))).toMatchObject({
        ok: false,
        problems: [{ problem: expect.stringContaining("cannot be read: ENOENT") }],
      });
      await writeFile(join(directory, "a.cedar"), Buffer.from([0xff, 0xfe, 0x00]));
      expect(await checkPolicies(directory)).toMatchObject({
        ok: false,
        problems: [{ file: expect.stringMatching(/a\.cedar$/), problem: expect.stringContaining("cannot be read") }],
      });
    });
  });

  it("follows links, as a mounted ConfigMap is made of them, and does not run in circles", async () => {
    await temporary(async (directory) => {
      await mkdir(join(directory, "..2026"));
      await writeFile(join(directory, "..2026", "a.cedar"), rule("permit", "a"));
      await symlink("..2026", join(directory, "..data"));
      await symlink(join("..data", "a.cedar"), join(directory, "a.cedar"));
      expect(await checkPolicies(directory)).toMatchObject({ ok: true, policies: 1 });
    });
  });
});

describe("what is published", () => {
  it("is the schema that is enforced", async () => {
    expect(await readFile(new URL("../../../src/policy/schema.cedarschema", import.meta.url), "utf8")).toBe(schemaText);
  });

  it("starts a new installation with policies that lend nothing", async () => {
    const files = Object.entries(starterPolicies()).map(([file, text]) => ({ file, text }));
    const parsed = await parseBundle(files);
    if (!parsed.ok) throw new Error(parsed.problems.map(sayProblem).join("\n"));
    expect(warningsOf(parsed.bundle)).toEqual([]);
    const authorizer = createAuthorizer({ bundle: parsed.bundle });
    const roles = ["catalogue-reader", "data-retrieval"];
    for (const action of ["use", "inject", "reveal"] as const)
      expect(await authorizer.decide(ask({ agent: { roles }, question: { action } }))).toMatchObject({ outcome: "deny" });
    const reveal = ask({ question: { action: "reveal" }, entry: { labels: { data: "customer" } } });
    expect(await authorizer.decide(reveal)).toMatchObject({ reason: "forbid", policies: ["customer-data-is-never-revealed"] });
  });

  it.each(["explanation/policy.md", "how-to/write-policies.md"])("has examples that validate, without a warning: docs/%s", async (page) => {
    const text = await readFile(new URL(`../../../docs/${page}`, import.meta.url), "utf8");
    const examples = [...text.matchAll(/^```cedar\n(.*?)^```$/gms)].map(([, example], i) => ({
      file: `${page} example ${i + 1}`,
      text: example ?? "",
    }));
    expect(examples.length).toBeGreaterThan(0);
    const parsed = await parseBundle(examples);
    if (!parsed.ok) throw new Error(parsed.problems.map(sayProblem).join("\n"));
    expect(warningsOf(parsed.bundle)).toEqual([]);
  });

  const example = new URL("../../../../shared/example/policies", import.meta.url);
  it.skipIf(!existsSync(example))("accepts the example configuration's policies", async () => {
    expect(await loadBundle(example.pathname)).toMatchObject({ ok: true, bundle: { policies: { length: 3 } } });
  });
});
