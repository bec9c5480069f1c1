import { execFileSync } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { verifyConsistency, verifyInclusion } from "../../src/audit/proof.ts";

/**
 * The proof vectors that other RFC 6962 implementations test with, one JSON file each. The two families
 * about subtrees (of Merkle tree certificates) say more than RFC 6962 does: they are asked here as far as
 * a subtree that starts on its own boundary is a tree, which is all that this log needs.
 */
const archive = join(import.meta.dirname, "../../../shared/data/rfc6962-vectors.tar.gz");
const folder = existsSync(archive) ? mkdtempSync(join(tmpdir(), "leasehold-vectors-")) : "";
if (folder !== "") execFileSync("tar", ["xzf", archive, "-C", folder]);
afterAll(() => {
  if (folder !== "") rmSync(folder, { recursive: true });
});

interface Vector {
  readonly wantErr: boolean;
  readonly root: string;
  readonly root1: string;
  readonly root2: string;
  readonly leafHash: string;
  readonly leafIdx: number;
  readonly treeSize: number;
  readonly size1: number;
  readonly size2: number;
  readonly start: number;
  readonly end: number;
  readonly size: number;
  readonly proof: readonly string[] | null;
}

const bytes = (text: string): Buffer => Buffer.from(text, "base64");
const proofOf = ({ proof }: Vector): readonly Buffer[] => (proof ?? []).map(bytes);

function vectors(family: string): readonly (readonly [string, Vector])[] {
  if (folder === "") return [];
  const paths = globSync(`testdata/${family}/**/*.json`, { cwd: folder }).sort();
  return paths.map((path) => [path.slice("testdata/".length, -".json".length), JSON.parse(readFileSync(join(folder, path), "utf8")) as Vector]);
}

/** Merkle tree certificates: a subtree starts at a multiple of the power of two that holds it. */
function isSubtree(start: number, end: number): boolean {
  if (start >= end) return false;
  let power = 1;
  while (power < end - start) power *= 2;
  return start % power === 0;
}

function includes(v: Vector): boolean {
  return verifyInclusion({ index: v.leafIdx, size: v.treeSize, leaf: bytes(v.leafHash), root: bytes(v.root) }, proofOf(v));
}

function includesInSubtree(v: Vector): boolean {
  const claim = { index: v.leafIdx - v.start, size: v.end - v.start, leaf: bytes(v.leafHash), root: bytes(v.root) };
  return isSubtree(v.start, v.end) && verifyInclusion(claim, proofOf(v));
}

function continues(v: Vector): boolean {
  return verifyConsistency({ oldSize: v.size1, oldRoot: bytes(v.root1), size: v.size2, root: bytes(v.root2) }, proofOf(v));
}

function continuesFromStart(v: Vector): boolean {
  return v.start === 0 && verifyConsistency({ oldSize: v.end, oldRoot: bytes(v.root1), size: v.size, root: bytes(v.root2) }, proofOf(v));
}

describe.skipIf(folder === "")("foreign RFC 6962 vectors (skipped where ../shared/data/rfc6962-vectors.tar.gz is not there)", () => {
  test("all are there", () => {
    expect(["inclusion", "consistency", "subtreeinclusion", "subtreeconsistency"].map((family) => vectors(family).length)).toEqual([98, 98, 204, 118]);
  });

  test.for(vectors("inclusion"))("%s", ([, vector]) => {
    expect(includes(vector)).toBe(!vector.wantErr);
  });

  test.for(vectors("consistency"))("%s", ([, vector]) => {
    expect(continues(vector)).toBe(!vector.wantErr);
  });

  test.for(vectors("subtreeinclusion"))("%s", ([, vector]) => {
    expect(includesInSubtree(vector)).toBe(!vector.wantErr);
  });

  // RFC 6962 has no proof about a log without entries; as a subtree, nothing is in everything.
  const [empty, others] = [true, false].map((is) => vectors("subtreeconsistency").filter(([, v]) => (v.start === v.end && !v.wantErr) === is));
  test.for(others ?? [])("%s", ([, vector]) => {
    expect(continuesFromStart(vector)).toBe(!vector.wantErr);
  });
  test.for(empty ?? [])("%s is about no log", ([, vector]) => {
    expect(continuesFromStart(vector)).toBe(false);
  });
});
