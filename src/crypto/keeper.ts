import type { KeyObject } from "node:crypto";
import { createHmac, createSecretKey, hkdfSync } from "node:crypto";
import { Failure } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import type { Keeper } from "../core/ports.ts";
import { Secret } from "../core/secret.ts";
import { SealError } from "./box.ts";
import { leaseContext } from "./context.ts";
import { packMaterial, unpackMaterial } from "./material.ts";
import type { Seal } from "./seal.ts";

export interface KeeperParts {
  readonly seal: Seal;
  /** Made once and never rotated, or lines of the audit log could not be matched any more. */
  readonly digestKey: KeyObject;
  /** The one text form of a JSON object (RFC 8785). */
  readonly canonical: (value: JsonObject) => string;
}

/** Throws `vault_unavailable` for material that does not open; why is in the cause. */
export function createKeeper({ seal, digestKey, canonical }: KeeperParts): Keeper {
  const valueKey = derive(digestKey, "leasehold digest: value");
  const objectKey = derive(digestKey, "leasehold digest: object");

  return {
    seal(lease, material) {
      const packed = packMaterial(material);
      try {
        return seal.encrypt(leaseContext(lease), packed);
      } finally {
        packed.fill(0);
      }
    },

    open(lease, sealed) {
      try {
        const packed = seal.decrypt(leaseContext(lease), sealed);
        const material = packed.use(unpackMaterial);
        packed.destroy();
        return material;
      } catch (cause) {
        // Sealed by a process that did not wait for its key to settle: the next try will find it.
        if (cause instanceof SealError && cause.reason === "unknown-key") seal.refresh().catch(() => undefined);
        throw new Failure("vault_unavailable", {}, { cause });
      }
    },

    digest(value) {
      if (value instanceof Secret) return value.use((bytes) => mac(valueKey, bytes));
      return typeof value === "string" ? mac(valueKey, value) : mac(objectKey, canonical(value));
    },
  };
}

/** Text and secrets share a key, so that a value matches itself wherever it turns up; objects have their own. */
function derive(key: KeyObject, info: string): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync("sha256", key, "", info, 32)));
}

function mac(key: KeyObject, data: Buffer | string): string {
  return `hmac:${createHmac("sha256", key).update(data).digest("base64url")}`;
}
