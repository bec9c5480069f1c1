import { z } from "zod";
import type { ConfigTables } from "../../../src/config/schema.ts";

const reference = z.strictObject({ vault: z.string(), secret: z.string() });

/** Small adapters of every kind: the configuration must not know the real ones. */
export const tables: ConfigTables = {
  engines: [
    {
      kind: "mint",
      schema: z
        .strictObject({ host: z.string(), port: z.int().min(1).default(5432), admin: reference, grants: z.array(z.string()).default([]) })
        .refine((spec) => spec.host !== "nowhere", { path: ["host"], error: "expected a host that exists" }),
    },
    {
      kind: "rest",
      schema: z.strictObject({ secret: z.union([reference, z.strictObject({ env: z.string() })]), ca: z.string().optional() }),
      paths: ["ca"],
    },
  ],
  vaults: [
    { type: "embedded", schema: z.strictObject({}) },
    { type: "remote", schema: z.strictObject({ url: z.string(), token: z.strictObject({ file: z.string() }) }) },
  ],
  sinks: [{ type: "file", schema: z.strictObject({ path: z.string() }), paths: ["path"] }],
};
