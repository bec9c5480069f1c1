import { isIP } from "node:net";
import type { Readable } from "node:stream";
import type { Pool } from "undici";
import { Failure } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import type { Material, OperationResult, Performer } from "../core/ports.ts";
import { Secret } from "../core/secret.ts";
import { AddressRefused, createAddressRule, guardedLookup, resolveBySystem } from "../outbound/address.ts";
import type { Resolve } from "../outbound/address.ts";
import { presentable, readBody } from "./http-body.ts";
import type { ScrubStream } from "./http-body.ts";
import { shownHeaders } from "./http-headers.ts";
import { isRedirect, judgeRedirect } from "./http-redirect.ts";
import type { Redirect } from "./http-redirect.ts";
import { parseRequest } from "./http-request.ts";
import type { HttpRequest } from "./http-request.ts";
import type { HttpTarget, HttpTargetOf } from "./http-target.ts";
import { knownValues } from "./known-values.ts";

/** Finds the values of one credential in what comes back. */
interface Scrubber {
  text(text: string): { readonly clean: string; readonly hits: number };
  stream(): ScrubStream;
}

export interface HttpPerformerParts {
  readonly target: HttpTargetOf;
  readonly scrubber: (values: readonly Uint8Array[]) => Scrubber;
  readonly resolve?: Resolve;
}

/** Performs HTTP requests with a credential that the agent never sees. */
export interface HttpPerformer extends Performer {
  /** Ends idle connections, for an orderly stop. */
  close(): Promise<void>;
}

export function createHttpPerformer(parts: HttpPerformerParts): HttpPerformer {
  const pools = createPools(parts.resolve ?? resolveBySystem);

  return {
    kind: "http",

    prepare(entry, input) {
      const target = parts.target(entry);
      if (!target) throw new Failure("operation_refused", { problem: "This credential does not do HTTP requests." });
      const request = parseRequest(input, target);
      return {
        facts: { kind: "http", method: request.method, host: new URL(target.origin).host, path: request.path },
        perform: async (material, _lease, signal) => {
          const scrubber = parts.scrubber(knownValues(material).map((known) => known.bytes));
          const headers = credentialHeaders(target, material);
          const deadline = AbortSignal.any([signal, AbortSignal.timeout(target.timeout)]);
          try {
            return await exchange(await pools.to(target), target, request, headers, scrubber, deadline);
          } catch (problem) {
            throw problem instanceof Failure ? problem : new Failure("target_unavailable", {}, { cause: described(problem) });
          }
        },
      };
    },

    close: () => pools.close(),
  };
}

async function exchange(
  pool: Pool,
  target: HttpTarget,
  first: HttpRequest,
  credential: Readonly<Record<string, string>>,
  scrubber: Scrubber,
  signal: AbortSignal,
): Promise<OperationResult> {
  let request = first;
  for (let left = target.followRedirects; ; left--) {
    const response = await pool.request({
      method: request.method,
      path: `${request.path}${request.query}`,
      headers: { "user-agent": "leasehold", ...request.headers, ...credential, "accept-encoding": "identity" },
      body: request.body ?? null,
      signal,
      responseHeaders: "raw",
    });
    const raw = pairs(response.headers);
    const redirect = redirectOf(target, request, response.statusCode, raw, left);
    if (redirect?.kind !== "follow") return result(target, request, response.statusCode, raw, redirect, response.body, scrubber);
    // Reads a little, so that the connection can be used again, and hangs up on more.
    await response.body.dump({ limit: 65_536, signal });
    request = redirect.request;
  }
}

async function result(
  target: HttpTarget,
  request: HttpRequest,
  status: number,
  raw: readonly (readonly [string, string])[],
  redirect: Redirect | undefined,
  body: Readable,
  scrubber: Scrubber,
): Promise<OperationResult> {
  let hits = 0;
  const scrub = (text: string): string => {
    const scrubbed = scrubber.text(text);
    hits += scrubbed.hits;
    return scrubbed.clean;
  };
  const headers = shownHeaders(raw, target, scrub);
  if (redirect?.kind === "show") headers["location"] = scrub(redirect.location);
  const stream = scrubber.stream();
  const encoding = request.method === "HEAD" ? undefined : headerOf(raw, "content-encoding");
  const read = await readBody(body, encoding, target.maxResponseBytes, stream);
  const scrubbed = hits + stream.hits;
  const output: JsonObject = {
    status,
    headers,
    ...presentable(read),
    truncated: read.truncated,
    scrubbed,
    ...(redirect?.kind === "hide" ? { note: redirect.note } : {}),
  };
  return { output, figures: { status, bytes: read.bytes.length, scrubbed } };
}

function redirectOf(
  target: HttpTarget,
  request: HttpRequest,
  status: number,
  raw: readonly (readonly [string, string])[],
  left: number,
): Redirect | undefined {
  const location = isRedirect(status) ? headerOf(raw, "location") : undefined;
  return location === undefined ? undefined : judgeRedirect(target, request, status, location, left);
}

/** The value goes into the header here and nowhere else, and only if it cannot end the header. */
function credentialHeaders(target: HttpTarget, material: Material): Readonly<Record<string, string>> {
  const secret = material.fields["secret"];
  if (!(secret instanceof Secret)) throw new Failure("internal", {}, { cause: new Error("the material has no secret") });
  return secret.use((bytes) => {
    const value = bytes.toString("latin1");
    if (value === "" || /[^\t\x20-\x7e\x80-\xff]/.test(value))
      throw new Failure("invalid_request", {
        problem:
          "The stored credential cannot be sent in a header: it is empty, or has a line break or control character in it. Tell the operator.",
      });
    return Object.fromEntries(
      target.headers.map(({ name, value: template }) => [name.toLowerCase(), template.replaceAll("{{secret}}", () => value)]),
    );
  });
}

/** Connections by origin and by the addresses it may have, so that none made under a laxer rule serves a stricter one. */
function createPools(resolve: Resolve) {
  const pools = new Map<string, Pool>();
  return {
    async to(target: HttpTarget): Promise<Pool> {
      const permits = createAddressRule(target.privateNetwork);
      const host = new URL(target.origin).hostname.replace(/^\[|\]$/g, "");
      // An address needs no look-up, so it would never meet the guard.
      if (isIP(host) !== 0 && !permits(host)) throw new AddressRefused();
      const key = JSON.stringify([target.origin, target.privateNetwork]);
      const existing = pools.get(key);
      if (existing) return existing;
      const { Pool } = await import("undici");
      const pool =
        pools.get(key) ??
        new Pool(target.origin, {
          // Written out, so that NODE_TLS_REJECT_UNAUTHORIZED cannot switch it off.
          connect: { lookup: guardedLookup(resolve, permits), rejectUnauthorized: true, timeout: 10_000 },
          connections: 32,
          allowH2: false,
          maxHeaderSize: 32_768,
        });
      pools.set(key, pool);
      return pool;
    },
    async close(): Promise<void> {
      await Promise.all([...pools.values()].map((pool) => pool.close()));
      pools.clear();
    },
  };
}

/** A client's own error can carry bytes of the response, and they the credential: only its kind is kept. */
function described(problem: unknown): Error {
  const code = problem instanceof Error && "code" in problem ? String(problem.code) : undefined;
  const name = problem instanceof Error ? problem.name : typeof problem;
  return new Error(`HTTP target: ${code !== undefined && /^[A-Z][A-Z0-9_]*$/.test(code) ? code : name}`);
}

function pairs(raw: unknown): readonly (readonly [string, string])[] {
  const flat = Array.isArray(raw) ? raw.map(String) : [];
  return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i] ?? "", flat[2 * i + 1] ?? ""] as const);
}

function headerOf(raw: readonly (readonly [string, string])[], wanted: string): string | undefined {
  return raw.find(([name]) => name.toLowerCase() === wanted)?.[1];
}
