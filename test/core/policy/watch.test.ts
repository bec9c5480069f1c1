import { mkdir, rename, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { createAuthorizer } from "../../../src/policy/cedar.ts";
import type { PolicyAuthorizer } from "../../../src/policy/cedar.ts";
import { loadBundle } from "../../../src/policy/directory.ts";
import type { Problem } from "../../../src/policy/problem.ts";
import { watchPolicies } from "../../../src/policy/watch.ts";
import { ask, eventually, rule, temporary } from "./sample.ts";

interface Scene {
  readonly directory: string;
  readonly authorizer: PolicyAuthorizer;
  readonly loaded: string[];
  readonly rejected: (readonly Problem[])[];
  readonly check: () => Promise<void>;
}

/** A watched directory with one permit; what happens in `work` happens beside it. */
async function watched(work: (scene: Scene) => Promise<void>, timing: { quiet?: number; interval?: number } = {}): Promise<void> {
  await temporary(async (parent) => {
    const directory = join(parent, "policies");
    await mkdir(directory);
    await writeFile(join(directory, "a.cedar"), rule("permit", "a"));
    const parsed = await loadBundle(directory);
    if (!parsed.ok) throw new Error("the scene is not set");
    const authorizer = createAuthorizer({ bundle: parsed.bundle });
    const loaded: string[] = [];
    const rejected: (readonly Problem[])[] = [];
    const watch = watchPolicies({
      directory,
      authorizer,
      onLoaded: ({ hash }) => loaded.push(hash),
      onRejected: (problems) => rejected.push(problems),
      ...timing,
    });
    try {
      await work({ directory, authorizer, loaded, rejected, check: () => watch.check() });
    } finally {
      watch.close();
    }
  });
}

const allows = async (authorizer: PolicyAuthorizer) => (await authorizer.decide(ask())).outcome === "allow";

describe("a policy directory that is watched", { timeout: 20_000 }, () => {
  it("takes a change over by itself", async () => {
    await watched(async ({ directory, authorizer, loaded }) => {
      expect(await allows(authorizer)).toBe(true);
      await writeFile(join(directory, "b.cedar"), rule("forbid", "b"));
      await eventually(() => loaded.length === 1);
      expect(loaded).toEqual([authorizer.bundle]);
      expect(await allows(authorizer)).toBe(false);
    });
  });

  it("finds a change in a folder below, and without being told of it", async () => {
    await watched(
      async ({ directory, authorizer, loaded }) => {
        await mkdir(join(directory, "team", "deep"), { recursive: true });
        await writeFile(join(directory, "team", "deep", "b.cedar"), rule("forbid", "b"));
        await eventually(() => loaded.length === 1);
        expect(await allows(authorizer)).toBe(false);
      },
      // Events come to nothing within the time of this test; only the regular look is left.
      { quiet: 60_000, interval: 50 },
    );
  });

  it("keeps what was in force when a change is broken, says why once, and tries again on the next one", async () => {
    await watched(async ({ directory, authorizer, loaded, rejected, check }) => {
      const before = authorizer.bundle;
      await writeFile(join(directory, "b.cedar"), "\n" + rule("forbid", "b", { when: "context.tll > 1" }));
      await check();
      await check();
      expect(rejected).toEqual([
        [{ file: expect.stringMatching(/b\.cedar$/), line: 7, problem: expect.stringContaining("did you mean `ttl`?") }],
      ]);
      expect(authorizer.bundle).toBe(before);
      expect(await allows(authorizer)).toBe(true);

      await writeFile(join(directory, "b.cedar"), rule("forbid", "b", { when: "context.ttl > 1" }));
      await check();
      expect(loaded).toEqual([authorizer.bundle]);
      expect(await allows(authorizer)).toBe(false);
    });
  });

  it("says so when a broken change was taken back", async () => {
    await watched(async ({ directory, authorizer, loaded, rejected, check }) => {
      const before = authorizer.bundle;
      await writeFile(join(directory, "b.cedar"), "nonsense");
      await check();
      expect(rejected).toHaveLength(1);
      await rm(join(directory, "b.cedar"));
      await check();
      expect(loaded).toEqual([before]);
    });
  });

  it("keeps what was in force when the directory is gone, and follows it when it is back", async () => {
    await watched(async ({ directory, authorizer, loaded, rejected, check }) => {
      await rename(directory, `${directory}-away`);
      await check();
      expect(rejected).toEqual([[{ file: directory, line: 1, problem: expect.stringContaining("cannot be read") }]]);
      expect(await allows(authorizer)).toBe(true);

      await mkdir(directory);
      await writeFile(join(directory, "a.cedar"), rule("permit", "a", { action: "list" }));
      await check();
      expect(loaded).toHaveLength(1);
      expect(await allows(authorizer)).toBe(false);
    });
  });

  it("denies everything when the last policy was taken away", async () => {
    await watched(async ({ directory, authorizer, check }) => {
      await rm(join(directory, "a.cedar"));
      await check();
      expect(await allows(authorizer)).toBe(false);
    });
  });

  it("is not troubled by what is no policy, nor by a touch", async () => {
    await watched(async ({ directory, loaded, rejected, check }) => {
      await writeFile(join(directory, ".#a.cedar"), "an editor's own");
      await writeFile(join(directory, "README.md"), "not a policy");
      await utimes(join(directory, "a.cedar"), new Date(), new Date());
      await check();
      expect([loaded, rejected]).toEqual([[], []]);
    });
  });

  it("does not lose a change that came while another was being read", async () => {
    await watched(async ({ directory, authorizer, check }) => {
      const looking = check();
      await writeFile(join(directory, "b.cedar"), rule("forbid", "b"));
      await looking;
      await eventually(() => authorizer.policies.policies.length === 2);
      expect(await allows(authorizer)).toBe(false);
    });
  });
});
