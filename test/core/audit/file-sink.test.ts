import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { FileSink } from "../../../src/sinks/file.ts";
import { createFileSink, fileSinkConfig } from "../../../src/sinks/file.ts";
import { decided, makeLog, start } from "./log.ts";
import { emptyHead, extend } from "../../../src/audit/append.ts";

const { lines } = makeLog(40);
const other = extend(
  emptyHead,
  Array.from({ length: 40 }, (_, n) => decided(n + 1)),
  start,
).entries.map(({ bytes }) => bytes);
const signal = new AbortController().signal;
const asText = (batch: readonly Uint8Array[]): string => batch.map((line) => `${Buffer.from(line).toString()}\n`).join("");

let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "leasehold-sink-"));
  path = join(folder, "audit.jsonl");
});
afterEach(() => rmSync(folder, { recursive: true }));

const content = (): string => readFileSync(path, "utf8");
function sinkTo(target = path): FileSink {
  const sink = createFileSink({ path: target });
  onTestFinished(() => sink.close());
  return sink;
}

describe("the file sink", () => {
  test("appends JSON Lines to a file that only its owner can read", async () => {
    const sink = sinkTo();
    await sink.send(lines.slice(0, 3), signal);
    await sink.send(lines.slice(3, 5), signal);
    await sink.send([], signal);
    expect(content()).toBe(asText(lines.slice(0, 5)));
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("AU-04: a batch that comes again after a restart is not written again", async () => {
    const first = createFileSink({ path });
    await first.send(lines.slice(0, 5), signal);
    await first.close();
    const sink = sinkTo();
    await sink.send(lines.slice(2, 8), signal);
    await sink.send(lines.slice(0, 3), signal);
    await sink.send(lines.slice(6, 8), signal);
    expect(content()).toBe(asText(lines.slice(0, 8)));
  });

  test.for([1, 10, 400])("AU-04: a line torn %i bytes before its end by a crash is cut off and written whole", async (lost) => {
    writeFileSync(path, asText(lines.slice(0, 5)));
    truncateSync(path, statSync(path).size - lost);
    await sinkTo().send(lines.slice(4, 8), signal);
    expect(content()).toBe(asText(lines.slice(0, 8)));
  });

  test("a file that holds nothing but a torn line starts anew", async () => {
    writeFileSync(path, '{"at":"20');
    await sinkTo().send(lines.slice(0, 2), signal);
    expect(content()).toBe(asText(lines.slice(0, 2)));
  });

  test("a torn line longer than the window that is read at a time", async () => {
    writeFileSync(path, asText(lines.slice(0, 2)));
    appendFileSync(path, "x".repeat(200_000));
    await sinkTo().send(lines.slice(2, 3), signal);
    expect(content()).toBe(asText(lines.slice(0, 3)));
  });

  test("entries of another log are refused, whether they overlap, follow or lie far behind", async () => {
    writeFileSync(path, asText(lines.slice(0, 30)));
    for (const batch of [other.slice(28, 32), other.slice(30, 32), other.slice(3, 5)]) {
      await expect(sinkTo().send(batch, signal)).rejects.toThrow(/another log/);
    }
    expect(content()).toBe(asText(lines.slice(0, 30)));
  });

  test("a file that is no copy of the log is not written to", async () => {
    writeFileSync(path, "my shopping list\n");
    await expect(sinkTo().send(lines.slice(0, 1), signal)).rejects.toThrow(SyntaxError);
    expect(content()).toBe("my shopping list\n");
  });

  test("a file that was rotated away is left alone, and a new one begun", async () => {
    const sink = sinkTo();
    await sink.send(lines.slice(0, 3), signal);
    renameSync(path, `${path}.1`);
    await sink.send(lines.slice(3, 5), signal);
    truncateSync(path, 0);
    // Emptied in place, then a batch that partly came before: the file has nothing of it now.
    await sink.send(lines.slice(4, 6), signal);
    expect(readFileSync(`${path}.1`, "utf8")).toBe(asText(lines.slice(0, 3)));
    expect(content()).toBe(asText(lines.slice(4, 6)));
  });

  test("lines that someone removed from the file are an error, not a silent gap", async () => {
    writeFileSync(path, asText(lines.slice(0, 3)));
    await expect(sinkTo().send(lines.slice(4, 6), signal)).rejects.toThrow(/ends with entry 2, and the next is 4/);
  });

  test.skipIf(!existsSync("/dev/full"))("AU-03: a disk that is full refuses the batch (needs /dev/full)", async () => {
    await expect(sinkTo("/dev/full").send(lines.slice(0, 1), signal)).rejects.toThrow(/ENOSPC/);
  });

  test("a folder that is not there yet refuses the batch, and takes it whole later", async () => {
    const later = join(folder, "later", "audit.jsonl");
    const sink = sinkTo(later);
    await expect(sink.send(lines.slice(0, 2), signal)).rejects.toThrow(/ENOENT/);
    mkdirSync(join(folder, "later"));
    await sink.send(lines.slice(0, 2), signal);
    expect(readFileSync(later, "utf8")).toBe(asText(lines.slice(0, 2)));
  });

  test("sends that come together are written one after the other", async () => {
    const sink = sinkTo();
    await Promise.all([0, 1, 2, 3].map((n) => sink.send(lines.slice(n * 10, n * 10 + 10), signal)));
    expect(content()).toBe(asText(lines));
  });

  test("a send that was given up before its turn does not write", async () => {
    await expect(sinkTo().send(lines.slice(0, 1), AbortSignal.abort())).rejects.toThrow(/abort/i);
    expect(existsSync(path)).toBe(false);
  });

  test("an existing mode is kept: the operator may have opened the file to a group", async () => {
    writeFileSync(path, "");
    chmodSync(path, 0o640);
    await sinkTo().send(lines.slice(0, 1), signal);
    expect(statSync(path).mode & 0o777).toBe(0o640);
  });
});

test("the configuration is strict", () => {
  expect(fileSinkConfig.parse({ type: "file", path: "/var/log/leasehold.jsonl" })).toEqual({
    type: "file",
    path: "/var/log/leasehold.jsonl",
  });
  expect(fileSinkConfig.safeParse({ type: "file", path: "" }).success).toBe(false);
  expect(fileSinkConfig.safeParse({ type: "file", path: "x", mode: "0644" }).success).toBe(false);
});
