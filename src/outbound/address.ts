import { lookup as systemLookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";
import type { LookupFunction } from "node:net";
import { callbackify } from "node:util";

/** All addresses of a name. The system's resolver, unless a test answers. */
export type Resolve = (host: string) => Promise<readonly { readonly address: string; readonly family: number }[]>;

/** Whether requests may go to this address. */
export type AddressRule = (address: string) => boolean;

/** This machine and private networks: what `privateNetwork: true` opens. */
const local = listOf(["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"]);

/** IANA special-purpose registry (RFC 6890): not one of them is a host on the public Internet. */
const special = listOf([
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
  // Within 2000::/3: protocol assignments and Teredo, documentation, 6to4 (an IPv4 address in disguise).
  "2001::/23",
  "2001:db8::/32",
  "2002::/16",
  "3fff::/20",
]);

/** Global unicast. All else is special, also what wraps an IPv4 address: mapped, compatible, NAT64. */
const globalV6 = listOf(["2000::/3"]);

/**
 * Link-local addresses (where clouds keep their metadata), multicast and the unspecified address are
 * refused even with `true`; they would have to be listed by name.
 */
export function createAddressRule(privateNetwork: boolean | readonly string[]): AddressRule {
  const listed = typeof privateNetwork === "boolean" ? undefined : listOf(privateNetwork);
  return (address) => {
    const family = isIP(address);
    if (family === 0 || address.includes("%")) return false;
    const type = family === 6 ? "ipv6" : "ipv4";
    if (listed?.check(address, type) || (privateNetwork === true && local.check(address, type))) return true;
    return !special.check(address, type) && (family === 4 || globalV6.check(address, type));
  };
}

/**
 * A look-up for `net.connect` that answers with checked addresses only, so that the address checked is
 * the address dialled: a name that answers differently the next time gains nothing. One refused
 * address refuses them all.
 */
export function guardedLookup(resolve: Resolve, permits: AddressRule): LookupFunction {
  const checked = callbackify(async (host: string) => {
    const addresses = await resolve(host);
    const [first] = addresses;
    if (!first || !addresses.every(({ address }) => permits(address))) throw new AddressRefused();
    return { first, addresses };
  });
  return (host, options, callback) => {
    checked(host, (error, found) => {
      if (error) callback(error, "");
      else if (options.all) callback(null, [...found.addresses]);
      else callback(null, found.first.address, found.first.family);
    });
  };
}

export const resolveBySystem: Resolve = (host) => systemLookup(host, { all: true, order: "verbatim" });

/** Kept apart in our log; to the caller it is a target that cannot be reached, as any other. */
export class AddressRefused extends Error {
  override readonly name = "AddressRefused";
  readonly code = "ADDRESS_REFUSED";
}

function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", prefix] = network.split("/");
    const type = isIP(address) === 6 ? "ipv6" : "ipv4";
    if (prefix === undefined) list.addAddress(address, type);
    else list.addSubnet(address, Number(prefix), type);
  }
  return list;
}
