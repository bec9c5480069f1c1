import { createHash, generateKeyPairSync, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { calculateJwkThumbprint, exportJWK } from "jose";
import { describe, expect, it } from "vitest";
import { Failure } from "../../../src/core/errors.ts";
import { createDpop } from "../../../src/identity/dpop.ts";

const url = "https://broker.example/mcp";
const token = "header.payload.signature";
const start = 1_800_000_000_250;
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const ed = generateKeyPairSync("ed25519");
const ecJwk = await exportJWK(ec.publicKey);
const edJwk = await exportJWK(ed.publicKey);
const request = { method: "POST", url, token };

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const digest = (text: string): string => createHash("sha256").update(text).digest("base64url");

function forge(header: object = {}, claims: object = {}, key: KeyObject = ec.privateKey): string {
  const head = { typ: "dpop+jwt", alg: "ES256", jwk: ecJwk, ...header };
  const body = { jti: "p1", htm: "POST", htu: url, iat: Math.floor(start / 1000), ath: digest(token), ...claims };
  const signed = `${encode(head)}.${encode(body)}`;
  const isEd = key.asymmetricKeyType === "ed25519";
  const signature = sign(isEd ? null : "sha256", Buffer.from(signed), isEd ? key : { key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

function setUp(remembered?: number) {
  const clock = { time: start };
  const dpop = createDpop({ now: () => clock.time, ...(remembered === undefined ? {} : { remembered }) });
  const why = (proof: string, more: Partial<typeof request> = {}): string => {
    try {
      dpop.spend(dpop.check(proof, { ...request, ...more }));
      return "good";
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
      return thrown.code === "unauthenticated" && thrown.cause instanceof Error ? thrown.cause.message : thrown.code;
    }
  };
  return { clock, dpop, why };
}

describe("a DPoP proof (RFC 9449 §4.3)", () => {
  it("of a P-256 or Ed25519 key is good, and names the key by its thumbprint (RFC 7638)", async () => {
    const { dpop } = setUp();
    expect(dpop.check(forge(), request)).toEqual({ jkt: await calculateJwkThumbprint(ecJwk), jti: "p1" });
    for (const alg of ["EdDSA", "Ed25519"])
      expect(dpop.check(forge({ alg, jwk: edJwk }, {}, ed.privateKey), request).jkt).toBe(await calculateJwkThumbprint(edJwk));
  });

  it("may carry what we do not know, and a URL that is only spelled differently", () => {
    const { why } = setUp();
    expect(why(forge({ kid: "mine", jwk: { ...ecJwk, use: "sig", key_ops: ["verify"], ext: true } }, { jti: "a", nonce: "n" }))).toBe(
      "good",
    );
    expect(why(forge({}, { jti: "b", htu: "HTTPS://BROKER.example:443/mcp?x=1#y" }))).toBe("good");
  });

  it.each<[string, object, object]>([
    ["another method", {}, { htm: "GET" }],
    ["a method in small letters", {}, { htm: "post" }],
    ["another path", {}, { htu: "https://broker.example/sse" }],
    ["another host", {}, { htu: "https://evil.example/mcp" }],
    ["another scheme", {}, { htu: "http://broker.example/mcp" }],
    ["a user in the URL", {}, { htu: "https://x@broker.example/mcp" }],
    ["no URL", {}, { htu: "mcp" }],
    ["another token", {}, { ath: digest("other") }],
    ["no token", {}, { ath: undefined }],
    ["no id", {}, { jti: undefined }],
    ["an empty id", {}, { jti: "" }],
    ["an id of 257 characters", {}, { jti: "j".repeat(257) }],
    ["a minute ago", {}, { iat: start / 1000 - 61 }],
    ["a minute ahead", {}, { iat: start / 1000 + 61 }],
    ["no time", {}, { iat: undefined }],
    ["a time in words", {}, { iat: "now" }],
    ["another type", { typ: "jwt" }, {}],
    ["no type", { typ: undefined }, {}],
    ["no algorithm", { alg: "none" }, {}],
    ["a symmetric algorithm", { alg: "HS256" }, {}],
    ["an algorithm of another kind of key", { alg: "EdDSA" }, {}],
    ["no key", { jwk: undefined }, {}],
    ["a key by reference", { jwk: undefined, jku: "https://evil.example/jwks", kid: "k" }, {}],
    ["a private key", { jwk: { ...ecJwk, d: "AAAA" } }, {}],
    ["a symmetric key", { jwk: { kty: "oct", k: "AAAA" } }, {}],
    ["a key on another curve", { jwk: { ...ecJwk, crv: "P-384" } }, {}],
    ["a point that is not on the curve", { jwk: { ...ecJwk, x: ecJwk.y, y: ecJwk.x } }, {}],
    ["a critical extension", { crit: ["exp"], exp: 1 }, {}],
  ])("OA-20: for %s is refused", (_what, header, claims) => {
    const { why } = setUp();
    expect(why(forge(header, claims))).not.toBe("good");
    expect(why(forge())).toBe("good");
  });

  it("OA-20: by another key than it says, or changed afterwards, is refused", () => {
    const { why } = setUp();
    const other = generateKeyPairSync("ec", { namedCurve: "P-256" });
    expect(why(forge({}, {}, other.privateKey))).toBe("bad signature of a DPoP proof");
    const [head, , tail] = forge().split(".");
    const body = encode({ jti: "p2", htm: "POST", htu: url, iat: Math.floor(start / 1000), ath: digest(token) });
    expect(why(`${head}.${body}.${tail}`)).toBe("bad signature of a DPoP proof");
    for (const rubbish of ["", "a", "a.b", "a.b.c.d", "a.b.c", `${forge()}=`, `${forge()}A`, "x".repeat(5_000)])
      expect(why(rubbish)).not.toBe("good");
  });

  it("OA-20: comes once, for as long as it would be good, and another key may use the same id", () => {
    const { why, clock } = setUp();
    const ahead = forge({}, { iat: start / 1000 + 59 });
    expect(why(ahead)).toBe("good");
    expect(why(ahead)).toBe("DPoP proof was used before");
    clock.time += 118_000;
    expect(why(ahead)).toBe("DPoP proof was used before");
    clock.time += 2_000;
    expect(why(ahead)).toBe("DPoP proof is not of now");
    const iat = clock.time / 1000;
    expect(why(forge({}, { iat }))).toBe("good");
    expect(why(forge({ alg: "EdDSA", jwk: edJwk }, { iat }, ed.privateKey))).toBe("good");
  });

  it("is not used up before its token was found good, and too many are refused rather than forgotten", () => {
    const { why, dpop, clock } = setUp(2);
    for (let i = 0; i < 5; i++) dpop.check(forge({}, { jti: `unspent-${i}` }), request);
    expect(["a", "b", "c"].map((jti) => why(forge({}, { jti })))).toEqual(["good", "good", "quota_exceeded"]);
    expect(why(forge({}, { jti: "a" }))).toBe("DPoP proof was used before");
    clock.time += 120_000;
    expect(why(forge({}, { jti: "c", iat: clock.time / 1000 }))).toBe("good");
  });
});
