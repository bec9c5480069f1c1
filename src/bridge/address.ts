import { BlockList, isIP } from "node:net";
import { BridgeProblem } from "./problem.ts";

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** A name other than `localhost` could resolve to anything. */
function isLoopback(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, "");
  const family = isIP(bare);
  return family === 0 ? bare === "localhost" : loopback.check(bare, family === 6 ? "ipv6" : "ipv4");
}

/** Whether tokens may travel there: encrypted, or not off this machine. */
export function isSecure(url: URL): boolean {
  return url.protocol === "https:" || isPlain(url);
}

/** Plain http, on this machine. */
export function isPlain(url: URL): boolean {
  return url.protocol === "http:" && isLoopback(url.hostname);
}

/**
 * The MCP endpoint of the broker that somebody named, with or without `/mcp` at its end.
 * `undefined`: no URL, not https and not on this machine, or one that carries more than a place.
 */
export function endpointOf(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !isSecure(url) || url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") return undefined;
  const path = url.pathname.replace(/\/+$/, "");
  url.pathname = path.endsWith("/mcp") ? path : `${path}/mcp`;
  return url;
}

/** A URL that a server named, or it is refused: `what` says whose. */
export function secured(text: string, what: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && isSecure(url) && url.username === "" && url.password === "") return url;
  throw new BridgeProblem("refused", `${what} is not an https address`);
}
