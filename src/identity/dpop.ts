import { createPublicKey, hash, verify } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { Failure } from "../core/errors.ts";

export interface DpopParts {
  readonly now: () => number;
  /** How many proofs are remembered against replay. One more, and proofs are refused: forgetting early would let one in twice. */
  readonly remembered?: number;
}

/** Proof of possession at the resource server (RFC 9449). One of these for a whole process: it knows which proofs were used. */
export interface Dpop {
  /**
   * Checks a proof for this request and this token (RFC 9449 section 4.3), or throws `unauthenticated`. It is not
   * used up by that: `spend` it when the token turned out to be good, so that strangers cannot fill the memory.
   */
  check(proof: string, request: ProvedRequest): DpopProof;
  /** Throws `unauthenticated` for a proof that was used before, `quota_exceeded` when too many are remembered. */
  spend(proof: DpopProof): void;
}

interface ProvedRequest {
  readonly method: string;
  /** The URL that clients use for it, without query and fragment: never made from a header. */
  readonly url: string;
  readonly token: string;
}

export interface DpopProof {
  /** SHA-256 thumbprint of the key (RFC 7638). */
  readonly jkt: string;
  readonly jti: string;
}

/** ES256 first: it verifies fastest here. `EdDSA` and `Ed25519` (RFC 9864) are the same algorithm. */
export const dpopAlgorithms: readonly string[] = ["ES256", "EdDSA", "Ed25519"];

/** Milliseconds by which a proof's time may differ from ours, either way. */
const window = 60_000;
const longestProof = 4 * 1024;
const longestJti = 256;
const rememberedKeys = 1_000;
const privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
const base64url = /^[A-Za-z0-9_-]+$/;

export function createDpop({ now, remembered = 400_000 }: DpopParts): Dpop {
  /** Oldest first: digest of key and `jti` → when it may be forgotten. */
  const spent = new Map<string, number>();
  /** Reading a key costs as much as a verification. By thumbprint. */
  const keys = new Map<string, KeyObject>();

  function keyOf(jkt: string, jwk: PublicJwk): KeyObject {
    const known = keys.get(jkt);
    if (known) return known;
    const key = createPublicKey({ key: { ...jwk }, format: "jwk" });
    if (keys.size >= rememberedKeys) keys.clear();
    keys.set(jkt, key);
    return key;
  }

  function read(proof: string, { method, url, token }: ProvedRequest): DpopProof {
    if (proof.length > longestProof) throw new Error("DPoP proof is too long");
    const parts = proof.split(".");
    const [head, body, tail] = parts;
    if (parts.length !== 3 || !head || !body || !tail) throw new Error("DPoP proof is no compact JWS");

    const { typ, alg, jwk, crit } = objectIn(head);
    if (typ !== "dpop+jwt" || crit !== undefined) throw new Error("unexpected DPoP header");
    const key = publicJwk(jwk);
    if (typeof alg !== "string" || !dpopAlgorithms.includes(alg) || (alg === "ES256") !== (key.kty === "EC"))
      throw new Error("unexpected DPoP algorithm");

    const { jti, htm, htu, iat, ath } = objectIn(body);
    if (typeof jti !== "string" || jti === "" || jti.length > longestJti) throw new Error("DPoP proof has no id");
    if (htm !== method) throw new Error("DPoP proof is for another method");
    if (typeof htu !== "string" || !isSameUrl(htu, url)) throw new Error("DPoP proof is for another URL");
    if (typeof iat !== "number" || !(Math.abs(now() - iat * 1000) <= window)) throw new Error("DPoP proof is not of now");
    if (ath !== hash("sha256", token, "base64url")) throw new Error("DPoP proof is for another token");

    const jkt = thumbprint(key);
    const publicKey = keyOf(jkt, key);
    const signature = bytesOf(tail);
    const signed = Buffer.from(proof.slice(0, head.length + 1 + body.length));
    const genuine =
      key.kty === "EC"
        ? signature.length === 64 && verify("sha256", signed, { key: publicKey, dsaEncoding: "ieee-p1363" }, signature)
        : verify(null, signed, publicKey, signature);
    if (!genuine) throw new Error("bad signature of a DPoP proof");
    return { jkt, jti };
  }

  return {
    check(proof, request) {
      try {
        return read(proof, request);
      } catch (cause) {
        throw refused(cause);
      }
    },

    spend({ jkt, jti }) {
      const time = now();
      for (const [oldest, until] of spent) {
        if (until > time) break;
        spent.delete(oldest);
      }
      const key = hash("sha256", `${jkt}.${jti}`, "base64url").slice(0, 22);
      if (spent.has(key)) throw refused(new Error("DPoP proof was used before"));
      if (spent.size >= remembered) throw new Failure("quota_exceeded", { scope: "rate", limit: remembered, retryAfterSeconds: 10 });
      // One from the far end of the window is good for twice its length.
      spent.set(key, time + 2 * window);
    },
  };
}

type PublicJwk = { readonly kty: "EC"; readonly crv: "P-256"; readonly x: string; readonly y: string } | OkpJwk;

interface OkpJwk {
  readonly kty: "OKP";
  readonly crv: "Ed25519";
  readonly x: string;
}

function publicJwk(value: unknown): PublicJwk {
  const jwk = record(value);
  if (privateMembers.some((member) => member in jwk)) throw new Error("DPoP proof carries a private key");
  const { kty, crv, x, y } = jwk;
  if (kty === "EC" && crv === "P-256") return { kty, crv, x: coordinate(x), y: coordinate(y) };
  if (kty === "OKP" && crv === "Ed25519") return { kty, crv, x: coordinate(x) };
  throw new Error("DPoP key of an unexpected kind");
}

/** 32 bytes in their one spelling: another one would be another thumbprint of the same key. */
function coordinate(value: unknown): string {
  if (typeof value !== "string" || value.length !== 43) throw new Error("DPoP key is malformed");
  bytesOf(value);
  return value;
}

/** Required members only, in lexicographic order, without spaces (RFC 7638 section 3). */
function thumbprint(key: PublicJwk): string {
  const { crv, kty, x } = key;
  const members = key.kty === "EC" ? { crv, kty, x, y: key.y } : { crv, kty, x };
  return hash("sha256", JSON.stringify(members), "base64url");
}

/** After normalisation (RFC 9449 section 4.3): case of scheme and host, default port, dot segments. Query and fragment do not count. */
function isSameUrl(htu: string, url: string): boolean {
  if (htu === url) return true;
  const proved = URL.parse(htu);
  const ours = URL.parse(url);
  return proved !== null && ours !== null && proved.origin === ours.origin && proved.pathname === ours.pathname && proved.username === "";
}

function bytesOf(text: string): Buffer {
  const bytes = Buffer.from(text, "base64url");
  if (!base64url.test(text) || bytes.toString("base64url") !== text) throw new Error("DPoP proof is not canonical base64url");
  return bytes;
}

function objectIn(part: string): Readonly<Record<string, unknown>> {
  const text = bytesOf(part).toString("utf8");
  try {
    return record(JSON.parse(text));
  } catch {
    throw new Error("DPoP proof is not JSON");
  }
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("DPoP proof is malformed");
  return Object.fromEntries(Object.entries(value));
}

function refused(cause: unknown): Failure {
  return new Failure("unauthenticated", {}, { cause });
}
