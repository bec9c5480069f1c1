import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { JSONWebKeySet, JWK } from "jose";
import { compactVerify, createLocalJWKSet, errors } from "jose";
import { SetupError } from "../core/setup-error.ts";

/** An issuer of somebody else, as the configuration names it. Neither `jwks` nor `jwksUri`: its keys are found by discovery. */
export interface Issuer {
  readonly issuer: string;
  readonly jwksUri?: string | undefined;
  /** Path of a JWK Set. */
  readonly jwks?: string | undefined;
}

export interface IssuerKeysParts extends Issuer {
  readonly fetch: typeof globalThis.fetch;
  readonly now: () => number;
}

export interface IssuerKeys {
  /**
   * The claims of a compact JWS that this issuer signed. Throws `KeysUnavailable` when its keys cannot be had
   * right now, and anything else when the signature is not good. What the claims say is for the caller to judge.
   */
  verify(token: string): Promise<Readonly<Record<string, unknown>>>;
}

/** Not the fault of whoever brought the token: they may come again. */
export class KeysUnavailable extends Error {
  override readonly name = "KeysUnavailable";
}

const algorithms = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
/** Milliseconds for all that it takes to get the keys. */
const patience = 5_000;
const largestDocument = 256 * 1024;
/** Milliseconds for which keys are believed without asking again. A key that the issuer withdrew is good for no longer. */
const fresh = 10 * 60_000;
/** Milliseconds between two requests for a key that we do not know: whoever invents key ids makes no traffic of it. */
const pauseBetween = 60_000;
/** The same after a failure, shorter, so that a short outage stays one. */
const pauseAfterFailure = 5_000;

/** The keys of one issuer, kept for ten minutes. A failure to renew them denies, rather than trusting old ones for longer. */
export function createIssuerKeys(parts: IssuerKeysParts): IssuerKeys {
  const { now } = parts;
  let known: { readonly keys: ReturnType<typeof createLocalJWKSet>; readonly at: number } | undefined;
  let failed: { readonly cause: unknown; readonly at: number } | undefined;
  let pending: Promise<void> | undefined;
  if (parts.jwks !== undefined) known = { keys: createLocalJWKSet(readAtStart(parts.jwks)), at: now() };

  async function load(): Promise<void> {
    try {
      known = { keys: createLocalJWKSet(await loadKeys(parts)), at: now() };
      failed = undefined;
    } catch (cause) {
      failed = { cause, at: now() };
      throw new KeysUnavailable(`the keys of ${parts.issuer} cannot be had`, { cause });
    }
  }

  async function renew(): Promise<void> {
    if (failed && now() - failed.at < pauseAfterFailure) throw new KeysUnavailable(`the keys of ${parts.issuer} could not be had`, failed);
    pending ??= load().finally(() => (pending = undefined));
    await pending;
  }

  async function current() {
    if (!known || now() - known.at >= fresh) await renew();
    if (!known) throw new KeysUnavailable(`there are no keys of ${parts.issuer}`);
    return known;
  }

  async function check(token: string, keys: ReturnType<typeof createLocalJWKSet>): Promise<Readonly<Record<string, unknown>>> {
    const { payload } = await compactVerify(token, keys, { algorithms });
    return membersOf(parse(new TextDecoder("utf8", { fatal: true }).decode(payload)));
  }

  return {
    async verify(token) {
      const { keys, at } = await current();
      try {
        return await check(token, keys);
      } catch (cause) {
        // The issuer may have changed its keys since.
        if (!(cause instanceof errors.JWKSNoMatchingKey) || now() - at < pauseBetween) throw cause;
      }
      await renew();
      return await check(token, (await current()).keys);
    },
  };
}

async function loadKeys(parts: IssuerKeysParts): Promise<JSONWebKeySet> {
  if (parts.jwks !== undefined) return keySetOf(parse(await readFile(parts.jwks, "utf8")));
  const signal = AbortSignal.timeout(patience);
  return keySetOf(await getJson(parts, parts.jwksUri ?? (await discover(parts, signal)), signal));
}

/** OpenID Connect Discovery 1.0 section 4, then RFC 8414 section 3: the second puts its path elsewhere. */
async function discover(parts: IssuerKeysParts, signal: AbortSignal): Promise<string> {
  const { origin, pathname, protocol } = new URL(parts.issuer);
  const path = pathname.replace(/\/$/, "");
  const places = [`${origin}${path}/.well-known/openid-configuration`, `${origin}/.well-known/oauth-authorization-server${path}`];
  const problems: unknown[] = [];
  for (const place of places) {
    try {
      const { issuer, jwks_uri: uri } = membersOf(await getJson(parts, place, signal));
      if (issuer !== parts.issuer) throw new Error("the document is of another issuer");
      if (typeof uri !== "string" || !URL.canParse(uri)) throw new Error("the document names no jwks_uri");
      if (new URL(uri).protocol !== "https:" && new URL(uri).protocol !== protocol) throw new Error("the keys are not behind TLS");
      return uri;
    } catch (cause) {
      problems.push(cause);
    }
  }
  throw new AggregateError(problems, "discovery failed");
}

/** Without redirects: an issuer is where its configuration says, and nowhere that an answer points to. */
async function getJson({ fetch }: IssuerKeysParts, url: string, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, { redirect: "error", signal, headers: { accept: "application/json" } });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`status ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > largestDocument) throw new Error("the document is too large");
    chunks.push(chunk);
  }
  return parse(Buffer.concat(chunks).toString("utf8"));
}

function readAtStart(file: string): JSONWebKeySet {
  try {
    return keySetOf(parse(readFileSync(file, "utf8")));
  } catch (cause) {
    throw new SetupError({ what: "These keys cannot be read", fix: "The file must be a JWK Set with public keys.", file, cause });
  }
}

/** The public members of signing keys. What is not one, or is secret, is left out. */
function keySetOf(document: unknown): JSONWebKeySet {
  const { keys } = membersOf(document);
  if (!Array.isArray(keys) || keys.length > 200) throw new Error("not a JWK Set");
  const members = keys.map(membersOf).filter(({ kty }) => kty === "RSA" || kty === "EC" || kty === "OKP");
  if (members.length === 0) throw new Error("a JWK Set without public keys");
  return { keys: members.map(publicPart) };
}

const publicMembers: ReadonlySet<string> = new Set(["kty", "kid", "use", "key_ops", "alg", "n", "e", "crv", "x", "y"]);

function publicPart(members: Readonly<Record<string, unknown>>): JWK {
  return Object.fromEntries(Object.entries(members).filter(([name]) => publicMembers.has(name)));
}

/** In our own words: the parser's would carry a piece of the text into the log. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("not JSON");
  }
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("not a JSON object");
  return Object.fromEntries(Object.entries(value));
}
