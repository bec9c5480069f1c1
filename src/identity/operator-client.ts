import { createPublicKey } from "node:crypto";
import type { AgentName } from "../core/brand.ts";
import type { JsonObject } from "../core/json.ts";
import { isNative, redirectProblem } from "./redirect-uri.ts";

/** How an agent that the operator names proves itself as an OAuth client. */
export interface OperatorClient {
  readonly name: AgentName;
  readonly redirectUris: readonly string[];
  /** Its public keys (JWK Set): it authenticates with `private_key_jwt`. */
  readonly jwks?: JsonObject;
  readonly secret?: string;
  readonly dpop: boolean;
}

export const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code";

/**
 * Client metadata (RFC 7591 section 2) of an agent whose `client_id` is its name. With keys or a secret it may act for
 * itself (`client_credentials`); with redirect URIs a person may sign in to it. Throws `TypeError` in words for the operator.
 */
export function operatorMetadata({ name, redirectUris, jwks, secret, dpop }: OperatorClient): JsonObject {
  for (const uri of redirectUris) {
    const problem = redirectProblem(uri);
    if (problem !== undefined) throw new TypeError(`redirect URIs ${problem}: ${JSON.stringify(uri)}`);
  }
  if (jwks && secret !== undefined) throw new TypeError("a client has keys or a secret, not both");
  const confidential = jwks !== undefined || secret !== undefined;
  const people = redirectUris.length > 0;
  if (!confidential && !people) throw new TypeError("a client without keys or a secret needs a redirect URI");
  return {
    client_id: name,
    client_name: name,
    application_type: isNative(redirectUris) ? "native" : "web",
    redirect_uris: redirectUris,
    response_types: people ? ["code"] : [],
    grant_types: [...(people ? ["authorization_code", "refresh_token", deviceGrant] : []), ...(confidential ? ["client_credentials"] : [])],
    token_endpoint_auth_method: jwks ? "private_key_jwt" : secret === undefined ? "none" : "client_secret_basic",
    ...(jwks ? { jwks } : {}),
    ...(secret === undefined ? {} : { client_secret: secret, client_secret_expires_at: 0 }),
    ...(dpop ? { dpop_bound_access_tokens: true } : {}),
  };
}

/** Public keys from a file: a JWK Set, one JWK, or a public key or certificate in PEM. Throws `TypeError`: a private key is none of our business. */
export function publicKeys(text: string): JsonObject {
  if (text.includes("PRIVATE KEY")) throw new TypeError("it holds a private key: give the public one");
  const keys = text.trimStart().startsWith("{") ? keysOfJson(text) : [keyOfPem(text)];
  if (keys.length === 0 || keys.length > 20) throw new TypeError("expected 1 to 20 keys");
  for (const key of keys) {
    const { kty } = key;
    if (kty !== "EC" && kty !== "RSA" && kty !== "OKP") throw new TypeError("expected EC, RSA or OKP keys");
    if (["d", "k", "p", "q", "dp", "dq", "qi", "oth"].some((member) => Object.hasOwn(key, member)))
      throw new TypeError("it holds a private key: give the public one");
  }
  return { keys };
}

function keyOfPem(text: string): JsonObject {
  try {
    const { kty, crv, x, y, n, e } = createPublicKey(text).export({ format: "jwk" });
    return Object.fromEntries(Object.entries({ kty, crv, x, y, n, e }).filter(([, value]) => value !== undefined));
  } catch {
    throw new TypeError("it is neither a JWK, a JWK Set, nor a public key in PEM");
  }
}

function keysOfJson(text: string): readonly JsonObject[] {
  const value = parse(text);
  const keys = isObject(value) && Array.isArray(value["keys"]) ? value["keys"] : [value];
  return keys.map((key) => {
    if (!isObject(key)) throw new TypeError("it is neither a JWK, a JWK Set, nor a public key in PEM");
    return key;
  });
}

/** In our own words: the parser's would quote the file. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new TypeError("it is not JSON");
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
