import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeHead, emptyHead, encodeHead, extend, rootOf } from "../../../src/audit/append.ts";
import { consistencyPath, inclusionPath, subtreeHash, verifyConsistency, verifyInclusion } from "../../../src/audit/proof.ts";
import type { Range } from "../../../src/audit/proof.ts";
import { emptyRoot, leafHash, nodeHash } from "../../../src/audit/tree.ts";
import { decided, makeLog } from "./log.ts";

const leaves = Array.from({ length: 70 }, (_, n) => leafHash(Buffer.from(`leaf ${n}`)));
const hashOf = ({ start, end }: Range): Uint8Array => subtreeHash(leaves.slice(start, end));
const root = (size: number): Uint8Array => hashOf({ start: 0, end: size });

/** The definition of RFC 6962 section 2.1, as it is written there. */
function mth(data: readonly Uint8Array[]): Uint8Array {
  const [only] = data;
  if (!only) return emptyRoot;
  if (data.length === 1) return only;
  let k = 1;
  while (k * 2 < data.length) k *= 2;
  return nodeHash(mth(data.slice(0, k)), mth(data.slice(k)));
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

test("known hashes: the empty tree and the empty leaf", () => {
  expect(hex(emptyRoot)).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  expect(hex(leafHash(new Uint8Array(0)))).toBe("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
});

test("an entry larger than any before is hashed whole", () => {
  const big = Buffer.alloc(100_000, 7);
  expect(hex(leafHash(big))).not.toBe(hex(leafHash(big.subarray(0, 99_999))));
});

test("the root of the frontier is the Merkle tree hash, at every size", () => {
  for (let size = 0; size <= leaves.length; size++) expect(hex(root(size))).toBe(hex(mth(leaves.slice(0, size))));
});

describe("proofs", () => {
  test("every entry of every small tree has a proof that verifies, and that proves nothing else", () => {
    for (let size = 1; size <= 20; size++) {
      for (let index = 0; index < size; index++) {
        const proof = inclusionPath(index, size).map(hashOf);
        const claim = { index, size, leaf: hashOf({ start: index, end: index + 1 }), root: root(size) };
        expect(verifyInclusion(claim, proof)).toBe(true);
        expect(verifyInclusion({ ...claim, index: index + 1 }, proof)).toBe(false);
        expect(verifyInclusion({ ...claim, leaf: leafHash(Buffer.from("other")) }, proof)).toBe(false);
        expect(verifyInclusion({ ...claim, root: emptyRoot }, proof)).toBe(false);
        expect(verifyInclusion(claim, [...proof, emptyRoot])).toBe(false);
        expect(verifyInclusion(claim, proof.slice(1))).toBe(size === 1);
      }
    }
  });

  test("every pair of sizes has a consistency proof that verifies, and that proves nothing else", () => {
    for (let size = 1; size <= 33; size++) {
      for (let oldSize = 1; oldSize <= size; oldSize++) {
        const proof = consistencyPath(oldSize, size).map(hashOf);
        const claim = { oldSize, oldRoot: root(oldSize), size, root: root(size) };
        expect(verifyConsistency(claim, proof)).toBe(true);
        expect(verifyConsistency({ ...claim, oldRoot: emptyRoot }, proof)).toBe(false);
        expect(verifyConsistency({ ...claim, root: emptyRoot }, proof)).toBe(false);
        expect(verifyConsistency(claim, [...proof, emptyRoot])).toBe(false);
      }
    }
  });

  test("a flipped bit anywhere in a proof is noticed", () => {
    const flips = fc.record({ size: fc.integer({ min: 2, max: 70 }), at: fc.nat(), bit: fc.nat(255) });
    fc.assert(
      fc.property(flips, fc.nat(), ({ size, at, bit }, pick) => {
        const index = pick % size;
        const proof = inclusionPath(index, size).map((range) => Buffer.from(hashOf(range)));
        const hash = proof[at % proof.length];
        if (hash) hash[bit >> 3] = (hash[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(verifyInclusion({ index, size, leaf: hashOf({ start: index, end: index + 1 }), root: root(size) }, proof)).toBe(false);
      }),
    );
  });

  test("an inner node cannot pose as an entry with a shorter proof", () => {
    const claim = { index: 0, size: 4, leaf: hashOf({ start: 0, end: 2 }), root: root(4) };
    expect(verifyInclusion(claim, [hashOf({ start: 2, end: 4 })])).toBe(false);
  });

  test("hashes of another length are refused, though they begin with the right bytes", () => {
    const longer = (hash: Uint8Array): Uint8Array => Buffer.concat([hash, Buffer.of(0)]);
    const leaf = hashOf({ start: 2, end: 3 });
    expect(verifyInclusion({ index: 2, size: 6, leaf, root: root(6) }, inclusionPath(2, 6).map(hashOf).map(longer))).toBe(false);
    expect(verifyInclusion({ index: 2, size: 6, leaf: longer(leaf), root: root(6) }, inclusionPath(2, 6).map(hashOf))).toBe(false);
    const claim = { oldSize: 3, oldRoot: root(3), size: 6, root: root(6) };
    expect(verifyConsistency(claim, consistencyPath(3, 6).map(hashOf).map(longer))).toBe(false);
    const [first = emptyRoot, ...rest] = consistencyPath(3, 6).map(hashOf);
    expect(verifyConsistency(claim, [first, ...rest])).toBe(true);
    expect(verifyConsistency(claim, [first, ...rest.map(longer)])).toBe(false);
    const power = { oldSize: 4, oldRoot: longer(root(4)), size: 6, root: root(6) };
    expect(verifyConsistency(power, consistencyPath(4, 6).map(hashOf))).toBe(false);
  });

  test("sizes that no log has are refused", () => {
    expect(() => inclusionPath(3, 3)).toThrow(RangeError);
    expect(() => inclusionPath(0, Number.NaN)).toThrow(RangeError);
    expect(() => consistencyPath(0, 3)).toThrow(RangeError);
    expect(() => consistencyPath(4, 3)).toThrow(RangeError);
  });

  test("beyond 2³¹ entries paths still have the right length", () => {
    expect(inclusionPath(2 ** 40, 2 ** 41).length).toBe(41);
    expect(consistencyPath(2 ** 40 - 1, 2 ** 41).at(-1)).toEqual({ start: 2 ** 40, end: 2 ** 41 });
  });
});

describe("the head", () => {
  test("appending one by one and many at once give the same log", () => {
    const events = Array.from({ length: 13 }, (_, n) => decided(n));
    const atOnce = extend(emptyHead, events, 0);
    let head = emptyHead;
    const entries = events.flatMap((event) => {
      const added = extend(head, [event], 0);
      head = added.head;
      return added.entries;
    });
    expect(atOnce).toEqual({ entries, head });
  });

  test("nothing that was handed in is changed", () => {
    const { head } = makeLog(7);
    const before = encodeHead(head);
    extend(head, [decided(7)], 0);
    expect(encodeHead(head)).toEqual(before);
    expect(emptyHead.frontier.length).toBe(0);
  });

  test("survives the database column, at every size", () => {
    let head = emptyHead;
    for (let size = 0; size < 40; size++) {
      const decoded = decodeHead(encodeHead(head));
      expect({ ...decoded, root: hex(rootOf(decoded)), last: hex(decoded.last) }).toMatchObject({
        size,
        root: hex(rootOf(head)),
        last: hex(head.last),
      });
      head = extend(decoded, [decided(size)], 0).head;
    }
  });

  test("a damaged column is refused", () => {
    const encoded = Buffer.from(encodeHead(makeLog(5).head));
    expect(() => decodeHead(encoded.subarray(1))).toThrow(RangeError);
    expect(() => decodeHead(encoded.subarray(0, -1))).toThrow(RangeError);
    expect(() => decodeHead(Buffer.concat([encoded, Buffer.alloc(32)]))).toThrow(RangeError);
    expect(() => decodeHead(Buffer.alloc(0))).toThrow(RangeError);
    encoded[0] = 2;
    expect(() => decodeHead(encoded)).toThrow(RangeError);
  });

  test("a clock that RFC 3339 has no four-digit year for is refused", () => {
    for (const at of [Number.NaN, -1, 1e15, Infinity]) expect(() => extend(emptyHead, [decided(0)], at)).toThrow(RangeError);
  });
});
