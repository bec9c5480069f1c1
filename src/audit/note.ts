import type { KeyObject } from "node:crypto";
import { createPublicKey, hash, sign, verify } from "node:crypto";

/**
 * Signed notes (c2sp.org/signed-note) with Ed25519: a text, an empty line, and one line per signature.
 * `name` says who signs, and is what a verifier key is bound to.
 */
export interface NoteSigner {
  readonly name: string;
  /** `<name>+<key id>+<base64(0x01 ‖ public key)>`: what to give to those who verify. */
  readonly verifierKey: string;
  sign(text: string): string;
}

const ed25519 = 1;
const mostSignatures = 100;
const line = /^— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/u;
// oxlint-disable-next-line no-control-regex -- they are what is refused
const controls = /[\u0000-\u0009\u000b-\u001f]/;
const signerName = /^[^\s+\p{Cc}]+$/u;

/** Throws `TypeError` when the name is empty or has spaces or `+`, or the key is not an Ed25519 private key. */
export function noteSigner(name: string, privateKey: KeyObject): NoteSigner {
  if (privateKey.type !== "private" || privateKey.asymmetricKeyType !== "ed25519")
    throw new TypeError("notes are signed with an Ed25519 key");
  const verifierKey = verifierKeyOf(name, createPublicKey(privateKey));
  const id = keyId(name, rawPublicKey(createPublicKey(privateKey)));
  return {
    name,
    verifierKey,
    sign(text) {
      if (!text.endsWith("\n") || !isNoteText(text)) throw new TypeError("a note is well-formed text that ends in a newline");
      const signature = Buffer.concat([id, sign(null, Buffer.from(text), privateKey)]);
      return `${text}\n— ${name} ${signature.toString("base64")}\n`;
    },
  };
}

export function verifierKeyOf(name: string, publicKey: KeyObject): string {
  if (!signerName.test(name) || !name.isWellFormed()) throw new TypeError("a key name is not empty and has neither spaces nor +");
  const raw = rawPublicKey(publicKey);
  return `${name}+${keyId(name, raw).toString("hex")}+${Buffer.concat([Buffer.of(ed25519), raw]).toString("base64")}`;
}

export interface NoteVerifier {
  readonly name: string;
  /** The text that this key signed; `undefined` when the note is malformed, or not (or wrongly) signed by it. */
  open(note: string): string | undefined;
}

/** Throws `TypeError` when the verifier key is malformed. */
export function noteVerifier(verifierKey: string): NoteVerifier {
  const [name, id, ...rest] = verifierKey.split("+");
  const encoded = rest.join("+");
  const key = decodeBase64(encoded);
  if (!name || !id || !signerName.test(name) || key?.length !== 33 || key[0] !== ed25519) throw malformedKey();
  const raw = key.subarray(1);
  if (keyId(name, raw).toString("hex") !== id) throw malformedKey();
  const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") }, format: "jwk" });
  return {
    name,
    open(note) {
      const parsed = parseNote(note);
      if (!parsed) return undefined;
      const ours = parsed.signatures.filter((signature) => signature.name === name && signature.id === id);
      const good = (signature: NoteSignature): boolean => verify(null, Buffer.from(parsed.text), publicKey, signature.bytes);
      return ours.length > 0 && ours.every(good) ? parsed.text : undefined;
    },
  };
}

interface NoteSignature {
  readonly name: string;
  readonly id: string;
  readonly bytes: Uint8Array;
}

/** The parts of a note, believed by nobody yet. */
export function parseNote(note: string): { readonly text: string; readonly signatures: readonly NoteSignature[] } | undefined {
  const gap = note.lastIndexOf("\n\n");
  if (gap < 0 || !note.endsWith("\n") || !isNoteText(note)) return undefined;
  const lines = note.slice(gap + 2, -1).split("\n");
  if (lines.length > mostSignatures) return undefined;
  const signatures: NoteSignature[] = [];
  for (const each of lines) {
    const [, name, encoded] = line.exec(each) ?? [];
    const bytes = encoded === undefined ? undefined : decodeBase64(encoded);
    if (name === undefined || !bytes || bytes.length < 5) return undefined;
    signatures.push({ name, id: bytes.subarray(0, 4).toString("hex"), bytes: bytes.subarray(4) });
  }
  return { text: note.slice(0, gap + 1), signatures };
}

/** Standard base64 with padding, in its one canonical spelling. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}

function isNoteText(text: string): boolean {
  return text.isWellFormed() && !controls.test(text);
}

function keyId(name: string, raw: Uint8Array): Buffer {
  return Buffer.from(hash("sha256", Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(ed25519), raw]), "hex").slice(0, 8), "hex");
}

function rawPublicKey(key: KeyObject): Buffer {
  const { x, crv } = key.export({ format: "jwk" });
  if (crv !== "Ed25519" || x === undefined) throw new TypeError("not an Ed25519 key");
  return Buffer.from(x, "base64url");
}

function malformedKey(): TypeError {
  return new TypeError("not an Ed25519 verifier key of the form <name>+<key id>+<base64>");
}
