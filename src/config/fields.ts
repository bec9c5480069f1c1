import { isIP } from "node:net";
import { z } from "zod";
import { isAgentName, isCredentialName } from "../core/brand.ts";
import { isLoopback } from "./loopback.ts";
import { durationPattern, formatDuration, parseDuration } from "./duration.ts";

/** Seconds, written `30s`, `15m`, `8h`. */
export function duration(range: { readonly min?: string; readonly max?: string } = {}) {
  const least = parseDuration(range.min ?? "1s") ?? 1;
  const most = range.max === undefined ? Infinity : (parseDuration(range.max) ?? Infinity);
  return z
    .string({ error: "expected a duration like 15m" })
    .regex(durationPattern, { error: "expected a duration like 30s, 15m or 8h", abort: true })
    .transform((text) => parseDuration(text) ?? 0)
    .refine((seconds) => seconds >= least, { error: `expected at least ${formatDuration(least)}` })
    .refine((seconds) => seconds <= most, { error: `expected at most ${range.max ?? ""}` });
}

const nameRule = "use a–z, 0–9, dot, dash and underscore, at most 63 characters, starting with a letter or digit";

export const agentName = z.string().refine(isAgentName, { error: `not a valid agent name: ${nameRule}` });
export const roleName = z.string().refine(isAgentName, { error: `not a valid role name: ${nameRule}` });
export const vaultName = z.string().refine(isAgentName, { error: `not a valid vault name: ${nameRule}` });
export const credentialName = z
  .string()
  .refine(isCredentialName, { error: `not a valid credential name: ${nameRule}; parts are joined with /, five at most` });

export const labels = z.record(
  z.string().regex(/^[A-Za-z][A-Za-z0-9._-]{0,62}$/, { error: "not a valid label name: use letters, digits, dot, dash and underscore" }),
  z.string({ error: "expected text; put it in quotes" }).max(256),
);

/** `127.0.0.1:7420`, `[::1]:7420`, `localhost:7420`. */
export const listen = z.string({ error: "expected an address like 127.0.0.1:7420" }).transform((text, context) => {
  const address = parseListen(text);
  if (address) return address;
  context.addIssue({ code: "custom", message: "expected an address like 127.0.0.1:7420" });
  return z.NEVER;
});

function parseListen(text: string): { readonly host: string; readonly port: number } | undefined {
  const [, six, other, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = six ?? other;
  const port = Number(digits);
  if (host === undefined || port > 65_535 || (six !== undefined && isIP(six) !== 6)) return undefined;
  return { host, port };
}

const urlExample = "expected a URL like https://leasehold.example.com";

/** The issuer and base of the MCP resource: compared byte for byte by clients, so it has one form, without a trailing slash. */
export const publicUrl = z.string({ error: urlExample }).transform((text, context) => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const problem = url ? urlProblem(url) : urlExample;
  if (url && problem === undefined) return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
  context.addIssue({ code: "custom", message: problem ?? urlExample });
  return z.NEVER;
});

function urlProblem(url: URL): string | undefined {
  if (url.protocol !== "https:" && url.protocol !== "http:") return urlExample;
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    return "expected a URL without login, query or fragment";
  if (url.protocol === "http:" && !isLoopback(url.hostname)) return "expected https: plain http is for this machine only";
  return undefined;
}

/** An address, or a network such as `10.0.0.0/8`. */
export const network = z.string().refine(isNetwork, { error: "expected an address or a network like 10.0.0.0/8" });

function isNetwork(text: string): boolean {
  const [address = "", bits, ...rest] = text.split("/");
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) >= 1 && Number(bits) <= (family === 6 ? 128 : 32));
}

/** The store, as one line so that it can be handed around: `sqlite:./data/leasehold.db`. Never echoed, it may hold a password one day. */
export const store = z.string({ error: "expected sqlite:PATH" }).transform((text, context) => {
  const path = /^sqlite:(?!\/\/)(.+)$/.exec(text)?.[1];
  if (path !== undefined) return { type: "sqlite" as const, path };
  const later = /^postgres(ql)?:/.test(text);
  context.addIssue({
    code: "custom",
    message: later
      ? "PostgreSQL as the store comes with a later release; use sqlite:./data/leasehold.db"
      : "expected sqlite:PATH, e.g. sqlite:./data/leasehold.db",
  });
  return z.NEVER;
});

export const path = z.string().min(1);

/** A secret that opens the vault, so no vault can hold it. */
const secretSource = z.union([
  z.strictObject({ env: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: "expected the name of an environment variable" }) }),
  z.strictObject({ file: path }),
]);

export const seal = z.discriminatedUnion("type", [
  z
    .strictObject({ type: z.literal("file"), path: path.describe("The key file. Mode 0600; nobody else may read it.") })
    .describe("A key in a file of mode 0600"),
  z
    .strictObject({
      type: z.literal("passphrase"),
      from: secretSource
        .optional()
        .describe("Where the passphrase is found: `{ env: NAME }` or `{ file: PATH }`. Absent: asked for on the terminal."),
    })
    .describe("A passphrase that opens the key"),
]);

/** Where a secret value is: in a vault, or where the vault's own opener may be. */
export const reference = z.union([z.strictObject({ vault: z.string().min(1), secret: z.string().min(1) }), ...secretSource.options]);
