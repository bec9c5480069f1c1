import type { VerifiedToken } from "../identity/access-token.ts";

/** A token that comes from more than these has been exchanged too often. */
const longestLineage = 24;

/**
 * Token ids and sign-ins with which a token that is exchanged for these ends, each with those that they come from themselves.
 * Their agents, users and clients need no place in it: they are asked about by name. `undefined`: there are too many.
 */
export function lineageOf(parents: readonly VerifiedToken[]): readonly string[] | undefined {
  const ids = parents.flatMap(({ tokenId, session, lineage }) => [tokenId, ...(session === undefined ? [] : [session]), ...lineage]);
  const unique = new Set(ids);
  return unique.size > longestLineage ? undefined : [...unique];
}
