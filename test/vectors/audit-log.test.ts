import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { AuditEvent } from "../../src/core/event.ts";
import type { LogHead } from "../../src/audit/append.ts";
import { emptyHead, extend, rootOf } from "../../src/audit/append.ts";
import { openCheckpoint, signCheckpoint } from "../../src/audit/checkpoint.ts";
import { linesOfFile } from "../../src/audit/lines.ts";
import { noteSigner, noteVerifier } from "../../src/audit/note.ts";
import { consistencyPath, inclusionPath, subtreeHash, verifyConsistency, verifyInclusion } from "../../src/audit/proof.ts";
import { verify } from "../../src/audit/verify.ts";
import { testKey } from "../core/audit/log.ts";

/**
 * A small log with everything around it, for other implementations to check themselves by, and for us to
 * notice when the format changes: what is in `audit-log/` is what others rely on.
 */
const folder = join(import.meta.dirname, "audit-log");
const read = (name: string): string => readFileSync(join(folder, name), "utf8");

interface Proofs {
  readonly leaves: readonly string[];
  readonly roots: readonly string[];
  readonly inclusion: readonly { readonly index: number; readonly size: number; readonly proof: readonly string[] }[];
  readonly consistency: readonly { readonly oldSize: number; readonly size: number; readonly proof: readonly string[] }[];
}

const events = JSON.parse(read("events.json")) as readonly { readonly at: number; readonly event: AuditEvent }[];
const proofs = JSON.parse(read("proofs.json")) as Proofs;
const bytes = (text: string | undefined): Buffer => Buffer.from(text ?? "", "base64");
const base64 = (hash: Uint8Array): string => Buffer.from(hash).toString("base64");

function build(): { readonly lines: string[]; readonly leaves: string[]; readonly heads: LogHead[] } {
  const lines: string[] = [];
  const leaves: string[] = [];
  const heads = [emptyHead];
  for (const { at, event } of events) {
    const { entries, head } = extend(heads.at(-1) ?? emptyHead, [event], at);
    for (const entry of entries) {
      lines.push(Buffer.from(entry.bytes).toString());
      leaves.push(base64(entry.hash));
    }
    heads.push(head);
  }
  return { lines, leaves, heads };
}

describe("our own vectors", () => {
  const { lines, leaves, heads } = build();
  const signer = noteSigner("leasehold/vectors", testKey);
  const against = { notes: [read("checkpoint-3.txt"), read("checkpoint-5.txt")], verifierKey: read("verifier-key.txt").trim() };

  test("the events give the log, byte for byte", () => {
    expect(lines).toEqual(read("log.jsonl").trimEnd().split("\n"));
    expect(leaves).toEqual(proofs.leaves);
    expect(heads.map((head) => base64(rootOf(head)))).toEqual(proofs.roots);
  });

  test("the key gives the checkpoints, byte for byte", () => {
    expect(signer.verifierKey).toBe(against.verifierKey);
    expect([3, 5].map((size) => signCheckpoint(heads[size] ?? emptyHead, signer))).toEqual(against.notes);
    const verifier = noteVerifier(against.verifierKey);
    expect(against.notes.map((note) => openCheckpoint(note, verifier)?.size)).toEqual([3, 5]);
  });

  test("the log verifies against them", async () => {
    const verdict = await verify(linesOfFile(join(folder, "log.jsonl")), against);
    expect(verdict).toMatchObject({ ok: true, size: 5, proven: 5, checkedAgainst: [3, 5] });
  });

  test("the proofs are the ones we make, and verify", () => {
    const hashOf = ({ start, end }: { start: number; end: number }): string => base64(subtreeHash(leaves.slice(start, end).map(bytes)));
    for (const { index, size, proof } of proofs.inclusion) {
      expect(inclusionPath(index, size).map(hashOf)).toEqual(proof);
      expect(verifyInclusion({ index, size, leaf: bytes(leaves[index]), root: bytes(proofs.roots[size]) }, proof.map(bytes))).toBe(true);
    }
    for (const { oldSize, size, proof } of proofs.consistency) {
      expect(consistencyPath(oldSize, size).map(hashOf)).toEqual(proof);
      const claim = { oldSize, oldRoot: bytes(proofs.roots[oldSize]), size, root: bytes(proofs.roots[size]) };
      expect(verifyConsistency(claim, proof.map(bytes))).toBe(true);
    }
    expect([proofs.inclusion.length, proofs.consistency.length]).toEqual([5, 3]);
  });
});
