import { isIP } from "node:net";
import type { Agent } from "undici";
import type { AddressRule, Resolve } from "./address.ts";
import { AddressRefused, createAddressRule, guardedLookup, resolveBySystem } from "./address.ts";

export interface GuardedFetchParts {
  readonly now: () => number;
  readonly resolve?: Resolve;
  /** The public Internet, unless said otherwise. */
  readonly permits?: AddressRule;
  readonly ports?: readonly number[];
  /** Of the body. 64 KiB when absent. */
  readonly maxBytes?: number;
  /** Milliseconds from asking to the last byte. */
  readonly timeout?: number;
  /** Authorities (PEM) instead of the system's. */
  readonly ca?: string;
}

export interface GuardedFetch {
  /**
   * Gets a document from where a stranger says: https on port 443 of a public address, the address that was checked
   * is the one that is dialled, redirects are not followed, nothing is inflated. What is not a plain 200 within the
   * limits is a `FetchRefused` with one text for all reasons, so that nobody can map a network by asking; and it is not
   * asked for again for ten seconds, so that nobody can have us knock at doors for them.
   */
  readonly fetch: (input: string | URL | Request, init?: RequestInit) => Promise<Response>;
  readonly close: () => Promise<void>;
}

/** `cause` says why, for the broker's own log. */
export class FetchRefused extends Error {
  override readonly name = "FetchRefused";
  constructor(cause: unknown) {
    super("the document cannot be fetched", { cause });
  }
}

const pauseAfterFailure = 10_000;
const failuresRemembered = 1_000;

export function createGuardedFetch(parts: GuardedFetchParts): GuardedFetch {
  const {
    now,
    resolve = resolveBySystem,
    permits = createAddressRule(false),
    ports = [443],
    maxBytes = 65_536,
    timeout = 3_000,
    ca,
  } = parts;
  let agent: Agent | undefined;
  /** Until when what could not be had is left alone. */
  const failed = new Map<string, number>();

  async function connections(): Promise<Agent> {
    const undici = await import("undici");
    return (agent ??= new undici.Agent({
      // Written out, so that NODE_TLS_REJECT_UNAUTHORIZED cannot switch it off.
      connect: { lookup: guardedLookup(resolve, permits), rejectUnauthorized: true, timeout, ...(ca === undefined ? {} : { ca }) },
      allowH2: false,
      connections: 4,
      maxHeaderSize: 16_384,
      keepAliveTimeout: 1_000,
    }));
  }

  function check(url: URL): void {
    if (url.protocol !== "https:") throw new Error("not https");
    if (!ports.includes(url.port === "" ? 443 : Number(url.port))) throw new Error("not a port for documents");
    if (url.username !== "" || url.password !== "") throw new Error("a URL with a user");
    const host = url.hostname.replace(/^\[|\]$/g, "");
    // An address needs no look-up, so it would never meet the guard.
    if (isIP(host) !== 0 && !permits(host)) throw new AddressRefused();
  }

  async function get(url: URL, given: AbortSignal | null | undefined): Promise<Response> {
    check(url);
    const { request } = await import("undici");
    const signal = AbortSignal.any([AbortSignal.timeout(timeout), ...(given ? [given] : [])]);
    const headers = { accept: "application/json", "accept-encoding": "identity" };
    const answer = await request(url, { dispatcher: await connections(), method: "GET", headers, signal });
    // Ending it early is an error to the stream, and one that nobody listens to ends the process.
    answer.body.on("error", () => undefined);
    try {
      if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}`);
      if ((answer.headers["content-encoding"] ?? "identity") !== "identity") throw new Error("an encoded body");
      const chunks: Uint8Array[] = [];
      let length = 0;
      for await (const chunk of answer.body) {
        const bytes = Buffer.from(chunk as Uint8Array);
        length += bytes.length;
        if (length > maxBytes) throw new Error("a body that is too large");
        chunks.push(bytes);
      }
      return new Response(Buffer.concat(chunks), { status: 200, headers: kept(answer.headers) });
    } finally {
      answer.body.destroy();
    }
  }

  function remember(url: string): void {
    if (failed.size >= failuresRemembered) failed.clear();
    failed.set(url, now() + pauseAfterFailure);
  }

  return {
    async fetch(input, init) {
      const url = input instanceof Request ? input.url : String(input);
      if ((failed.get(url) ?? 0) > now()) throw new FetchRefused(new Error("it failed a moment ago"));
      failed.delete(url);
      try {
        return await get(new URL(url), init?.signal);
      } catch (cause) {
        remember(url);
        throw new FetchRefused(cause);
      }
    },
    close: async () => agent?.close(),
  };
}

/** Headers that say what the document is and how long it is good. */
function kept(headers: Readonly<Record<string, string | string[] | undefined>>): [string, string][] {
  return ["content-type", "cache-control", "expires"].flatMap((name): [string, string][] => {
    const value = headers[name];
    return typeof value === "string" ? [[name, value]] : [];
  });
}
