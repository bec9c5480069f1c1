import { BlockList, isIP } from "node:net";
import type { IncomingMessage } from "node:http";
import { Refusal } from "./refusal.ts";

export interface OriginParts {
  readonly publicUrl: string;
  /** The port that is listened on, once that is known. */
  readonly port: () => number;
  /** Further origins whose pages may call us, e.g. `https://inspector.example`. */
  readonly allowedOrigins?: readonly string[];
  /** Whether TLS ends here. Absent: a proxy does that, or nobody else can connect. */
  readonly tls?: boolean;
  /** Addresses and networks (CIDR) whose `X-Forwarded-For` counts. */
  readonly trustedProxies?: readonly string[];
}

export interface OriginGuard {
  /**
   * Throws 403 for a `Host` that is not ours and for an `Origin` that is not allowed: a page that rebinds its
   * name to our address is stopped by the first, any other page by the second. Clients that are no browsers
   * send no `Origin`. A browser that says another site made it send something is believed, too; following a link
   * is another thing. And throws it for a peer on another machine that is no trusted proxy, unless TLS ends here:
   * its token would have crossed the network in clear.
   */
  check(request: IncomingMessage): void;
  /** Who is at the other end: the peer or, from a trusted proxy, the last address that no trusted proxy added. */
  addressOf(request: IncomingMessage): string;
}

export function createOriginGuard(parts: OriginParts): OriginGuard {
  const publicUrl = new URL(parts.publicUrl);
  const invited = new Set(parts.allowedOrigins ?? []);
  const ownScheme = parts.tls ? "https://" : "http://";
  const proxies = networks(parts.trustedProxies ?? []);
  const local = (host: string) => ["127.0.0.1", "localhost", "[::1]"].some((name) => host === `${name}:${parts.port()}`);

  function isTrusted(address: string): boolean {
    return proxies !== undefined && proxies.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
  }

  return {
    check({ method, headers, headersDistinct, socket }) {
      const peer = plain(socket.remoteAddress ?? "");
      if (!parts.tls && !isThisMachine(peer) && !isTrusted(peer))
        throw new Refusal(403, "forbidden_peer", "Connect through the proxy that ends TLS.");
      // Node keeps the first of these; a proxy in front may have judged another (RFC 9112 section 3.2).
      if ([headersDistinct.host, headersDistinct["authorization"]].some((all) => all !== undefined && all.length > 1))
        throw new Refusal(400, "bad_request", "Send Host and Authorization once each.");
      const host = headers.host?.toLowerCase();
      if (host === undefined || (host !== publicUrl.host && !local(host))) throw new Refusal(403, "forbidden_host", "Unknown host.");
      const { origin } = headers;
      if (origin !== undefined && invited.has(origin)) return;
      if (headers["sec-fetch-site"] === "cross-site" && method !== "GET" && method !== "HEAD")
        throw new Refusal(403, "forbidden_origin", "Unknown origin.");
      if (origin === undefined || origin === publicUrl.origin) return;
      if (!origin.startsWith(ownScheme) || !local(origin.slice(ownScheme.length)))
        throw new Refusal(403, "forbidden_origin", "Unknown origin.");
    },

    addressOf(request) {
      const peer = plain(request.socket.remoteAddress ?? "");
      if (!isTrusted(peer)) return peer;
      const forwarded = request.headers["x-forwarded-for"];
      const hops = (Array.isArray(forwarded) ? forwarded.join(",") : (forwarded ?? "")).split(",").map((hop) => plain(hop.trim()));
      const client = hops.findLast((hop) => !isTrusted(hop));
      return client !== undefined && isIP(client) !== 0 ? client : peer;
    },
  };
}

function isThisMachine(address: string): boolean {
  return address === "::1" || (isIP(address) === 4 && address.startsWith("127."));
}

/** IPv4 addresses as such, also where a dual-stack socket shows them as IPv6. */
function plain(address: string): string {
  return address.startsWith("::ffff:") && isIP(address.slice(7)) === 4 ? address.slice(7) : address;
}

function networks(list: readonly string[]): BlockList | undefined {
  if (list.length === 0) return undefined;
  const block = new BlockList();
  for (const network of list) {
    const [address = "", bits] = network.split("/");
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    if (bits === undefined) block.addAddress(address, family);
    else block.addSubnet(address, Number(bits), family);
  }
  return block;
}
