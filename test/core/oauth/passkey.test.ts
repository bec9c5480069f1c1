import { createSecretKey, randomBytes } from "node:crypto";
import { encodeCBOR } from "@levischuck/tiny-cbor";
import { describe, expect, it } from "vitest";
import type { Passkey } from "../../../src/identity/users.ts";
import { readAttestation, readAuthenticatorData } from "../../../src/oauth/passkey-data.ts";
import { createPasskeys } from "../../../src/oauth/passkey.ts";
import type { Deviation } from "./authenticator.ts";
import { createAuthenticator } from "./authenticator.ts";

const origin = "https://broker.example";
const ada = { account: "01hzzzzzzzzzzzzzzzzzzzzzzz", name: "ada" };
let time = 1_000_000;

function house(publicUrl = origin) {
  const passkeys = createPasskeys({ publicUrl, key: createSecretKey(randomBytes(32)), now: () => time });
  if (!passkeys) throw new Error("no passkeys here");
  return passkeys;
}

function enrolled(kind: "es256" | "eddsa" | "rs256" = "es256") {
  const passkeys = house();
  const authenticator = createAuthenticator(origin, kind);
  const made = passkeys.register(authenticator.create(passkeys.creationOptions("link", ada)), "link");
  const passkey: Passkey = { ...made, account: ada.account, createdAt: 0 };
  const find = async (id: Buffer) => (id.equals(passkey.id) ? passkey : undefined);
  const assert = (wrong: Deviation = {}, bound = "sign-in") =>
    passkeys.assert(authenticator.get(passkeys.requestOptions("sign-in"), wrong), bound, find);
  return { passkeys, authenticator, passkey, find, assert };
}

describe("passkeys", () => {
  it.each(["es256", "eddsa", "rs256"] as const)(
    "%s: a registered one proves its person (WebAuthn level 2, sections 7.1 and 7.2)",
    async (kind) => {
      const { passkey, assert } = enrolled(kind);
      expect(passkey.counter).toBe(1);
      expect(await assert()).toMatchObject({ passkey: { account: ada.account }, counter: 2 });
    },
  );

  it.each<[string, Deviation]>([
    ["another origin", { origin: "https://broker.example.evil.example" }],
    ["the origin with another scheme", { origin: "http://broker.example" }],
    ["inside a frame of another site", { crossOrigin: true }],
    ["another site's id", { rpId: "example" }],
    ["a registration for a sign-in", { type: "webauthn.create" }],
    ["nobody present", { flags: 0x04 }],
    ["a user who was not verified", { flags: 0x01 }],
    ["a signature over something else", { signature: randomBytes(70) }],
    ["a challenge that is not ours", { challenge: Buffer.from("9999999999999.x.y").toString("base64url") }],
    ["somebody else's handle", { userHandle: Buffer.from("01hyyyyyyyyyyyyyyyyyyyyyyy").toString("base64url") }],
  ])("an assertion with %s is refused", async (_, wrong) => {
    await expect(enrolled().assert(wrong)).rejects.toThrow();
  });

  it.each<[string, Deviation]>([
    ["another origin", { origin: "https://evil.example" }],
    ["another site's id", { rpId: "evil.example" }],
    ["a sign-in for a registration", { type: "webauthn.get" }],
    ["a user who was not verified", { flags: 0x41 }],
    ["no key", { flags: 0x05 }],
  ])("a registration with %s is refused", (_, wrong) => {
    const passkeys = house();
    const answer = createAuthenticator(origin).create(passkeys.creationOptions("link", ada), wrong);
    expect(() => passkeys.register(answer, "link")).toThrow();
  });

  it("a challenge is good for what it was made for, and for ten minutes (section 13.4.3)", async () => {
    const { assert, passkeys, authenticator, find } = enrolled();
    await expect(assert({}, "another sign-in")).rejects.toThrow("not our challenge");
    const options = passkeys.requestOptions("sign-in");
    const late = authenticator.get(options);
    const foreign = house();
    await expect(foreign.assert(late, "sign-in", find)).rejects.toThrow("not our challenge");
    const { challenge } = JSON.parse(options) as { challenge: string };
    const [until = "", nonce = "", mac = ""] = Buffer.from(challenge, "base64url").toString().split(".");
    const stretched = Buffer.from(`${Number(until) + 1}.${nonce}.${mac}`).toString("base64url");
    await expect(passkeys.assert(authenticator.get(options, { challenge: stretched }), "sign-in", find)).rejects.toThrow(
      "not our challenge",
    );
    time += 600_001;
    await expect(passkeys.assert(late, "sign-in", find)).rejects.toThrow("expired");
  });

  it("a counter that does not grow is a copy; one that never counts is none (section 6.1.1)", async () => {
    const { assert, passkeys, authenticator, passkey } = enrolled();
    await expect(assert({ counter: 1 })).rejects.toThrow("a copy");
    await expect(assert({ counter: 0 })).rejects.toThrow("a copy");
    const never = async () => ({ ...passkey, counter: 0 });
    const answer = authenticator.get(passkeys.requestOptions("sign-in"), { counter: 0 });
    expect(await passkeys.assert(answer, "sign-in", never)).toMatchObject({ counter: 0 });
  });

  it("what is no answer of an authenticator is refused, and nothing worse", () => {
    const passkeys = house();
    for (const answer of [
      "",
      "null",
      "{}",
      "[]",
      '{"id":"€"}',
      JSON.stringify({ id: "AA", clientDataJSON: "AA", attestationObject: "AA" }),
    ])
      expect(() => passkeys.register(answer, "link")).toThrow();
    for (let length = 0; length < 120; length += 1) expect(() => readAuthenticatorData(Buffer.alloc(length, 0xff))).toThrow();
    expect(() => readAttestation(Buffer.from(encodeCBOR(new Map([["authData", "text"]]))))).toThrow();
  });

  it("keys of other kinds are refused: P-384, a point off the curve, short RSA", () => {
    const attested = (key: Map<number, number | Uint8Array>): Buffer =>
      Buffer.concat([Buffer.alloc(32), Buffer.from([0x45, 0, 0, 0, 0]), Buffer.alloc(16), Buffer.from([0, 1, 7]), encodeCBOR(key)]);
    const zeros = new Uint8Array(32).fill(1);
    for (const key of [
      new Map<number, number | Uint8Array>([
        [1, 2],
        [3, -35],
        [-1, 2],
        [-2, new Uint8Array(48)],
        [-3, new Uint8Array(48)],
      ]),
      new Map<number, number | Uint8Array>([
        [1, 2],
        [3, -7],
        [-1, 1],
        [-2, zeros],
        [-3, zeros],
      ]),
      new Map<number, number | Uint8Array>([
        [1, 3],
        [3, -257],
        [-1, new Uint8Array(128).fill(255)],
        [-2, new Uint8Array([1, 0, 1])],
      ]),
      new Map<number, number | Uint8Array>([
        [1, 2],
        [3, -7],
      ]),
    ])
      expect(() => readAuthenticatorData(attested(key))).toThrow();
  });

  it("are there for names only: browsers give none to an address", () => {
    const key = createSecretKey(randomBytes(32));
    for (const publicUrl of ["http://127.0.0.1:7420", "http://[::1]:7420"])
      expect(createPasskeys({ publicUrl, key, now: Date.now })).toBeUndefined();
    expect(createPasskeys({ publicUrl: "http://localhost:7420", key, now: Date.now })).toBeDefined();
  });
});
