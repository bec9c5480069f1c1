import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import { emptyHead, rootOf } from "../../../src/audit/append.ts";
import { openCheckpoint, parseCheckpoint, signCheckpoint } from "../../../src/audit/checkpoint.ts";
import { createCheckpointer } from "../../../src/audit/checkpointer.ts";
import { noteSigner, noteVerifier, parseNote, verifierKeyOf } from "../../../src/audit/note.ts";
import { decided, makeLog, memoryLog, testKey } from "./log.ts";

/** The example that golang.org/x/mod/sumdb/note publishes with its tests. */
const peter = {
  verifierKey: "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
  seed: "gQoUAtUUbI2E8kQzPVAgOv5juF/Fn3TKS/F1ccoMXM==",
  text: "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n",
  signature: "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n",
};
const enoch = {
  verifierKey: "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop",
  signature: "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n",
};
const peterNote = `${peter.text}\n${peter.signature}`;

describe("signed notes (c2sp.org/signed-note)", () => {
  test("the published note is opened by its key", () => {
    expect(noteVerifier(peter.verifierKey).open(peterNote)).toBe(peter.text);
  });

  test("signing with the published key gives the published note, byte for byte", () => {
    // PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz: type 1, then the seed.
    const seed = Buffer.from("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz", "base64").subarray(1);
    const key = createPrivateKey({
      key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]),
      format: "der",
      type: "pkcs8",
    });
    const signer = noteSigner("PeterNeumann", key);
    expect(signer.verifierKey).toBe(peter.verifierKey);
    expect(signer.sign(peter.text)).toBe(peterNote);
  });

  test("signatures of unknown keys are ignored, in any place", () => {
    const both = [peterNote + enoch.signature, `${peter.text}\n${enoch.signature}${peter.signature}`];
    for (const note of both) {
      expect(noteVerifier(peter.verifierKey).open(note)).toBe(peter.text);
      expect(noteVerifier(enoch.verifierKey).open(note)).toBe(peter.text);
    }
    expect(noteVerifier(enoch.verifierKey).open(peterNote)).toBeUndefined();
  });

  test("one bad signature of a known key spoils the note", () => {
    const bad = peter.signature.replace("x08go/ZJ", "x08go/ZK");
    expect(noteVerifier(peter.verifierKey).open(`${peterNote}${bad}`)).toBeUndefined();
  });

  test.for([
    ["no signature", peter.text],
    ["an empty signature block", `${peter.text}\n`],
    ["no final newline", peterNote.slice(0, -1)],
    ["a control character", `\u0001${peterNote}`],
    ["a lone surrogate", `\ud800${peterNote}`],
    ["a space in the name", `${peter.text}\n${peter.signature.replace("PeterNeumann", "Peter Neumann")}`],
    ["a line that is no signature", `${peterNote}Unexpected line.\n`],
    ["a hyphen for the dash", `${peter.text}\n${peter.signature.replace("—", "-")}`],
    ["a signature that is only a key id", `${peter.text}\n— PeterNeumann x08goA==\n`],
    ["base64 in another spelling", peterNote.replace("JnAM=", "JnAN=")],
    ["101 signatures", `${peter.text}\n${peter.signature.repeat(101)}`],
  ] as const)("malformed: %s", ([, note]) => {
    expect(parseNote(note)).toBeUndefined();
    expect(noteVerifier(peter.verifierKey).open(note)).toBeUndefined();
  });

  test("the text may have empty lines: the last one is the separator", () => {
    const signer = noteSigner("leasehold/test", testKey);
    const text = "one\n\n— not a signature\n\ntwo\n";
    expect(noteVerifier(signer.verifierKey).open(signer.sign(text))).toBe(text);
  });

  test("any change of a verifier key is noticed", () => {
    for (let i = 0; i < peter.verifierKey.length; i++) {
      const changed =
        peter.verifierKey.slice(0, i) + String.fromCharCode(peter.verifierKey.charCodeAt(i) + 1) + peter.verifierKey.slice(i + 1);
      expect(() => noteVerifier(changed)).toThrow(TypeError);
      expect(() => noteVerifier(peter.verifierKey.slice(0, i))).toThrow(TypeError);
    }
    expect(() => noteVerifier("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==")).toThrow(TypeError);
    expect(() => noteVerifier("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")).toThrow(TypeError);
  });

  test("only Ed25519 keys with a proper name sign, and only text that can be a note", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    expect(() => noteSigner("leasehold/test", privateKey)).toThrow(TypeError);
    for (const name of ["", "a b", "a+b", "a\u2003b", "a\nb", "a\u0000b"]) expect(() => noteSigner(name, testKey)).toThrow(TypeError);
    for (const text of ["", "no newline", "a\u0000b\n", "\ud800\n"])
      expect(() => noteSigner("leasehold/test", testKey).sign(text)).toThrow(TypeError);
  });

  test("the key in a verifier key may contain a plus", () => {
    const keys = Array.from({ length: 40 }, () => generateKeyPairSync("ed25519").publicKey).map((key) =>
      verifierKeyOf("leasehold/test", key),
    );
    expect(keys.some((key) => key.split("+").length > 3)).toBe(true);
    for (const key of keys) expect(noteVerifier(key).name).toBe("leasehold/test");
  });
});

describe("checkpoints (c2sp.org/tlog-checkpoint)", () => {
  const signer = noteSigner("leasehold/test", testKey);
  const verifier = noteVerifier(signer.verifierKey);
  const { head } = makeLog(5);

  test("origin, size, root and nothing else", () => {
    const note = signCheckpoint(head, signer);
    expect(note.split("\n").slice(0, 4)).toEqual(["leasehold/test", "5", Buffer.from(rootOf(head)).toString("base64"), ""]);
    expect(openCheckpoint(note, verifier)).toEqual({ origin: "leasehold/test", size: 5, root: rootOf(head) });
    expect(parseCheckpoint(note)).toEqual(openCheckpoint(note, verifier));
  });

  test("the empty log has a checkpoint too", () => {
    expect(openCheckpoint(signCheckpoint(emptyHead, signer), verifier)?.size).toBe(0);
  });

  test("any changed character is noticed", () => {
    const note = signCheckpoint(head, signer);
    for (let i = 0; i < note.length; i++) {
      const changed = `${note.slice(0, i)}${note[i] === "A" ? "B" : "A"}${note.slice(i + 1)}`;
      expect(openCheckpoint(changed, verifier)).toBeUndefined();
    }
  });

  const root = Buffer.alloc(32, 1).toString("base64");
  test.for([
    ["a size with a leading zero", `leasehold/test\n05\n${root}\n`],
    ["a negative size", `leasehold/test\n-5\n${root}\n`],
    ["a size beyond 2⁵³", `leasehold/test\n9007199254740993\n${root}\n`],
    ["a root of 31 bytes", `leasehold/test\n5\n${Buffer.alloc(31).toString("base64")}\n`],
    ["no root", "leasehold/test\n5\n"],
    ["an empty extension line", `leasehold/test\n5\n${root}\n\nextension\n`],
    ["another origin", `leasehold/other\n5\n${root}\n`],
  ] as const)("signed but wrong: %s", ([, text]) => {
    expect(openCheckpoint(signer.sign(text), verifier)).toBeUndefined();
  });

  test("extension lines of others are carried along", () => {
    expect(openCheckpoint(signer.sign(`leasehold/test\n5\n${root}\nextension\n`), verifier)?.size).toBe(5);
  });
});

describe("the checkpointer", () => {
  test("signs when the log has grown, and only then", async () => {
    const store = memoryLog(3);
    const checkpointer = createCheckpointer({ store, key: testKey, origin: "leasehold/test" });
    const [first, same] = await Promise.all([checkpointer.sign(), checkpointer.sign()]);
    expect(same).toBe(first);
    expect(await checkpointer.sign()).toBe(first);
    store.add(decided(3));
    expect(await checkpointer.sign()).not.toBe(first);
    expect(store.notes.map(({ size }) => size)).toEqual([3, 4]);
    expect(openCheckpoint(await checkpointer.sign(), noteVerifier(checkpointer.verifierKey))?.size).toBe(4);
  });

  test("goes on after a restart", async () => {
    const store = memoryLog(3);
    await createCheckpointer({ store, key: testKey, origin: "leasehold/test" }).sign();
    await createCheckpointer({ store, key: testKey, origin: "leasehold/test" }).sign();
    expect(store.notes.length).toBe(1);
  });

  test("does not sign a log that lost entries, or that has others in their place", async () => {
    const store = memoryLog(3);
    await createCheckpointer({ store, key: testKey, origin: "leasehold/test" }).sign();
    const shrunk = { ...memoryLog(2), checkpoints: () => store.checkpoints() };
    await expect(createCheckpointer({ store: shrunk, key: testKey, origin: "leasehold/test" }).sign()).rejects.toThrow(/contradicts/);
    const other = memoryLog(2);
    other.add(decided(77));
    const rewritten = { ...other, checkpoints: () => store.checkpoints() };
    await expect(createCheckpointer({ store: rewritten, key: testKey, origin: "leasehold/test" }).sign()).rejects.toThrow(/contradicts/);
    expect(store.notes.length).toBe(1);
  });

  test("a failed save is tried again by the next call", async () => {
    const store = memoryLog(3);
    let broken = true;
    const flaky = {
      ...store,
      saveCheckpoint: async (size: number, note: string) =>
        broken ? Promise.reject(new Error("disk full")) : store.saveCheckpoint(size, note),
    };
    const checkpointer = createCheckpointer({ store: flaky, key: testKey, origin: "leasehold/test" });
    await expect(checkpointer.sign()).rejects.toThrow("disk full");
    broken = false;
    await checkpointer.sign();
    expect(store.notes.length).toBe(1);
  });
});
