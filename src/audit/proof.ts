import { frontierLength, hashLength, nodeHash, push, rootOfFrontier, sameHash } from "./tree.ts";

/** Leaves `start` to `end - 1`, as one subtree. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** The subtrees whose hashes prove that leaf `index` is in the tree of `size` leaves, leaf first (PATH of RFC 6962 section 2.1.1). */
export function inclusionPath(index: number, size: number): readonly Range[] {
  if (!isSize(size) || !isSize(index) || index >= size) throw new RangeError(`no entry ${index} in a log of ${size}`);
  const path: Range[] = [];
  let whole: Range = { start: 0, end: size };
  while (whole.end - whole.start > 1) {
    const [left, right] = halves(whole);
    const [within, beside] = index < left.end ? [left, right] : [right, left];
    path.push(beside);
    whole = within;
  }
  return path.reverse();
}

/** The subtrees whose hashes prove that the tree of `to` leaves begins with that of `from` (PROOF of RFC 6962 section 2.1.2). */
export function consistencyPath(from: number, to: number): readonly Range[] {
  if (!isSize(from) || !isSize(to) || from < 1 || from > to) throw new RangeError(`a log of ${to} cannot begin with one of ${from}`);
  const path: Range[] = [];
  let whole: Range = { start: 0, end: to };
  while (from < whole.end) {
    const [left, right] = halves(whole);
    const [within, beside] = from <= left.end ? [left, right] : [right, left];
    path.push(beside);
    whole = within;
  }
  // The verifier knows the old root already; anything smaller has to be said.
  if (whole.start > 0) path.push(whole);
  return path.reverse();
}

/** Hash of the subtree over these leaf hashes, in order. */
export function subtreeHash(leaves: Iterable<Uint8Array>): Uint8Array {
  const frontier: Uint8Array[] = [];
  let size = 0;
  for (const leaf of leaves) push(frontier, size++, leaf);
  return rootOfFrontier(frontier);
}

/** Whether the proof shows that `leaf` is entry `index` of the log with this size and root (RFC 9162 section 2.1.3.2). */
export function verifyInclusion(
  claim: { readonly index: number; readonly size: number; readonly leaf: Uint8Array; readonly root: Uint8Array },
  proof: readonly Uint8Array[],
): boolean {
  const { index, size, leaf, root } = claim;
  if (!isSize(index) || !isSize(size) || index >= size || !isHash(leaf) || !proof.every(isHash)) return false;
  let place = index;
  let last = size - 1;
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (place % 2 === 1 || place === last) {
      hash = nodeHash(sibling, hash);
      while (place % 2 === 0 && place !== 0) [place, last] = [half(place), half(last)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [place, last] = [half(place), half(last)];
  }
  return last === 0 && sameHash(hash, root);
}

/** Whether the proof shows that the log with `size` and `root` begins with the log of `oldSize` and `oldRoot` (RFC 9162 section 2.1.4.2). */
export function verifyConsistency(
  claim: { readonly oldSize: number; readonly oldRoot: Uint8Array; readonly size: number; readonly root: Uint8Array },
  proof: readonly Uint8Array[],
): boolean {
  const { oldSize, oldRoot, size, root } = claim;
  if (!isSize(oldSize) || !isSize(size) || oldSize < 1 || oldSize > size || !proof.every(isHash)) return false;
  if (oldSize === size) return proof.length === 0 && sameHash(oldRoot, root);
  // A power of two is a subtree of its own, and the proof leaves it out.
  const [first, ...rest] = frontierLength(oldSize) === 1 ? [oldRoot, ...proof] : proof;
  if (!first || !isHash(first)) return false;
  let old = oldSize - 1;
  let last = size - 1;
  while (old % 2 === 1) [old, last] = [half(old), half(last)];
  let oldHash = first;
  let hash = first;
  for (const sibling of rest) {
    if (last === 0) return false;
    if (old % 2 === 1 || old === last) {
      oldHash = nodeHash(sibling, oldHash);
      hash = nodeHash(sibling, hash);
      while (old % 2 === 0 && old !== 0) [old, last] = [half(old), half(last)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [old, last] = [half(old), half(last)];
  }
  return last === 0 && sameHash(oldHash, oldRoot) && sameHash(hash, root);
}

/** Split at the largest power of two below the size, as RFC 6962 splits. By doubling, because shifts end at 2³¹. */
function halves({ start, end }: Range): readonly [Range, Range] {
  let power = 1;
  while (power * 2 < end - start) power *= 2;
  return [
    { start, end: start + power },
    { start: start + power, end },
  ];
}

function half(n: number): number {
  return Math.floor(n / 2);
}

function isSize(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0;
}

function isHash(bytes: Uint8Array): boolean {
  return bytes.length === hashLength;
}
