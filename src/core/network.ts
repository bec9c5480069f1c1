/**
 * What an address is counted by: itself, or the first half of it for IPv6, where whoever has one address has 2^64 of them
 * (RFC 6177, RFC 4291 section 2.5.4).
 */
export function networkOf(address: string): string {
  if (!address.includes(":")) return address;
  const [start = "", end] = address.split("::", 2);
  const [first, last] = [start, end].map((half) => (half ? half.split(":") : []));
  const zeros = end === undefined ? 0 : 8 - (first?.length ?? 0) - (last?.length ?? 0);
  const groups = [...(first ?? []), ...Array.from({ length: Math.max(0, zeros) }, () => "0"), ...(last ?? [])];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}
