import type { Material } from "../core/ports.ts";
import { Secret } from "../core/secret.ts";

const plain = 0;
const secret = 1;

/**
 * `kind (1) ‖ length (4) ‖ name ‖ length (4) ‖ value` for each field. Not JSON, because a secret that was
 * once a JavaScript string stays in memory for as long as the runtime likes.
 */
export function packMaterial(material: Material): Buffer {
  const parts: { readonly kind: number; readonly name: Buffer; readonly value: Buffer }[] = [];
  for (const [name, value] of Object.entries(material.fields)) {
    // A copy, because a secret's bytes must not be kept beyond `use`.
    const bytes = value instanceof Secret ? value.use((held) => Buffer.from(held)) : Buffer.from(value);
    parts.push({ kind: value instanceof Secret ? secret : plain, name: Buffer.from(name), value: bytes });
  }
  const packed = Buffer.alloc(parts.reduce((sum, part) => sum + 9 + part.name.length + part.value.length, 0));
  let at = 0;
  for (const { kind, name, value } of parts) {
    at = packed.writeUInt8(kind, at);
    at = packed.writeUInt32BE(name.length, at);
    at += name.copy(packed, at);
    at = packed.writeUInt32BE(value.length, at);
    at += value.copy(packed, at);
    value.fill(0);
  }
  return packed;
}

/** For bytes that were authenticated: anything unexpected in them is a defect of ours, and throws. */
export function unpackMaterial(packed: Buffer): Material {
  const fields: [string, string | Secret][] = [];
  let at = 0;
  function take(length: number): Buffer {
    if (at + length > packed.length) throw new RangeError("lease material ends too early");
    at += length;
    return packed.subarray(at - length, at);
  }
  while (at < packed.length) {
    const kind = take(1).readUInt8();
    const name = take(take(4).readUInt32BE()).toString();
    const value = take(take(4).readUInt32BE());
    if (kind !== plain && kind !== secret) throw new RangeError("lease material has a field of an unknown kind");
    fields.push([name, kind === secret ? Secret.of(value) : value.toString()]);
  }
  // Unlike an assignment, fromEntries makes an own field of `__proto__` too.
  return { fields: Object.fromEntries(fields) };
}
