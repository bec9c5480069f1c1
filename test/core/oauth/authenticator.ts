import { encodeCBOR } from "@levischuck/tiny-cbor";
import type { KeyObject } from "node:crypto";
import { createHash, generateKeyPairSync, hash, randomBytes, sign } from "node:crypto";

type CborMap = Map<string | number, number | Uint8Array | string>;

/** Wrong answers that an authenticator, or whoever is between, could give. */
export interface Deviation {
  readonly origin?: string;
  readonly rpId?: string;
  readonly type?: string;
  readonly challenge?: string;
  readonly flags?: number;
  readonly counter?: number;
  readonly crossOrigin?: boolean;
  readonly signature?: Buffer;
  readonly userHandle?: string;
}

/** A security key in software (WebAuthn level 2): what `navigator.credentials` would answer with, as our script sends it. */
export function createAuthenticator(origin: string, kind: "es256" | "eddsa" | "rs256" = "es256") {
  const { publicKey, privateKey } = pair(kind);
  const id = randomBytes(32);
  let counter = 0;
  let user: string | undefined;
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64url");

  function client(type: string, challenge: string, wrong: Deviation): Buffer {
    const data = {
      type: wrong.type ?? type,
      challenge: wrong.challenge ?? challenge,
      origin: wrong.origin ?? origin,
      crossOrigin: wrong.crossOrigin ?? false,
    };
    return Buffer.from(JSON.stringify(data));
  }

  function authenticatorData(rpId: string, flags: number, attested: Uint8Array, wrong: Deviation): Buffer {
    counter += 1;
    const head = Buffer.alloc(5);
    head.writeUInt8(wrong.flags ?? flags);
    head.writeUInt32BE(wrong.counter ?? counter, 1);
    return Buffer.concat([
      createHash("sha256")
        .update(wrong.rpId ?? rpId)
        .digest(),
      head,
      attested,
    ]);
  }

  return {
    id,

    create(options: string, wrong: Deviation = {}): string {
      const { challenge, rp, user: person } = JSON.parse(options) as { challenge: string; rp: { id: string }; user: { id: string } };
      user = person.id;
      const length = Buffer.alloc(2);
      length.writeUInt16BE(id.length);
      const attested = Buffer.concat([Buffer.alloc(16), length, id, encodeCBOR(coseOf(publicKey, kind))]);
      const authData = authenticatorData(rp.id, 0x45, attested, wrong);
      const attestationObject = encodeCBOR(
        new Map<string, Uint8Array | string | CborMap>([
          ["fmt", "none"],
          ["attStmt", new Map()],
          ["authData", new Uint8Array(authData)],
        ]),
      );
      return JSON.stringify({
        id: text(id),
        clientDataJSON: text(client("webauthn.create", challenge, wrong)),
        attestationObject: text(attestationObject),
      });
    },

    get(options: string, wrong: Deviation = {}): string {
      const { challenge, rpId } = JSON.parse(options) as { challenge: string; rpId: string };
      const clientDataJSON = client("webauthn.get", challenge, wrong);
      const data = authenticatorData(rpId, 0x05, Buffer.alloc(0), wrong);
      const signed = Buffer.concat([data, hash("sha256", clientDataJSON, "buffer")]);
      const signature = wrong.signature ?? sign(kind === "eddsa" ? null : "sha256", signed, privateKey);
      return JSON.stringify({
        id: text(id),
        clientDataJSON: text(clientDataJSON),
        authenticatorData: text(data),
        signature: text(signature),
        userHandle: wrong.userHandle ?? user,
      });
    },
  };
}

function pair(kind: "es256" | "eddsa" | "rs256"): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  if (kind === "es256") return generateKeyPairSync("ec", { namedCurve: "P-256" });
  return kind === "eddsa" ? generateKeyPairSync("ed25519") : generateKeyPairSync("rsa", { modulusLength: 2048 });
}

/** RFC 9053 section 7, RFC 8230 section 4. */
function coseOf(key: KeyObject, kind: "es256" | "eddsa" | "rs256"): CborMap {
  const { x = "", y = "", n = "", e = "" } = key.export({ format: "jwk" });
  const bytes = (part: string): Uint8Array => new Uint8Array(Buffer.from(part, "base64url"));
  if (kind === "es256")
    return new Map<number, number | Uint8Array>([
      [1, 2],
      [3, -7],
      [-1, 1],
      [-2, bytes(x)],
      [-3, bytes(y)],
    ]);
  if (kind === "eddsa")
    return new Map<number, number | Uint8Array>([
      [1, 1],
      [3, -8],
      [-1, 6],
      [-2, bytes(x)],
    ]);
  return new Map<number, number | Uint8Array>([
    [1, 3],
    [3, -257],
    [-1, bytes(n)],
    [-2, bytes(e)],
  ]);
}
