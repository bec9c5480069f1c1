/** Ends an exhaustive `switch`: a new member of the union breaks the compile here. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${String(value)}`);
}
