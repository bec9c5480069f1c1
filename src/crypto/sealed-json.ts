import type { JsonObject } from "../core/json.ts";
import type { SealContext } from "./context.ts";
import type { Seal } from "./seal.ts";

/** JSON at rest that holds secrets of protocols, e.g. a client's secret: plain only in memory, and only on its way to the protocol. */
export interface SealedJson {
  seal(context: SealContext, value: JsonObject): Uint8Array;
  /** Throws `SealError`. */
  open(context: SealContext, sealed: Uint8Array): Promise<JsonObject>;
}

export function createSealedJson(seal: Seal): SealedJson {
  return {
    seal: (context, value) => seal.encrypt(context, Buffer.from(JSON.stringify(value))),
    async open(context, sealed) {
      const secret = await seal.open(context, sealed);
      try {
        return secret.use((bytes) => JSON.parse(Buffer.from(bytes).toString("utf8")) as JsonObject);
      } finally {
        secret.destroy();
      }
    },
  };
}
