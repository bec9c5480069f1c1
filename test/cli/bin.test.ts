import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const bin = fileURLToPath(new URL("../../bin/leasehold.js", import.meta.url));

function on(version: string) {
  const pretend = `data:text/javascript,Object.defineProperty(process.versions,"node",{value:"${version}"})`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", pretend, bin, "--version"], { encoding: "utf8" });
  return { status, stdout, stderr };
}

test("too old a Node is told so in one sentence, and nothing starts", () => {
  expect(on("20.20.2")).toEqual({ status: 1, stdout: "", stderr: "error: Leasehold needs Node.js 24 or newer; this is v20.20.2.\n" });
});

test("Node 24 and newer run it", () => {
  expect(on("26.0.0")).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
});

test("the bin is written in syntax that an old Node can read", () => {
  const text = readFileSync(bin, "utf8");
  expect(text).not.toMatch(/=>|\bconst\b|\blet\b|\?\.|\?\?|`|node:|\bawait\b/);
});
