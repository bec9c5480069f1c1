import { z } from "zod";

/** Placeholder in grant templates; replaced by the quoted name of the lease's role. */
const placeholder = "{{role}}";

/** What PostgreSQL accepts as an identifier without cutting it: 1–63 bytes, no NUL. */
const name = z
  .string()
  .min(1)
  .refine((text) => Buffer.byteLength(text) <= 63 && !text.includes("\0"), "must be a PostgreSQL name of at most 63 bytes");

const duration = z.string().regex(/^[1-9][0-9]{0,5}(?:ms|s|m|h)$/, "must be a duration, e.g. 500ms, 30s, 5m");
const certificate = z.string().startsWith("-----BEGIN CERTIFICATE-----", "must be a PEM certificate");

export const tlsSchema = z.union([z.boolean(), z.strictObject({ ca: certificate })]);

const targetSchema = z.strictObject({
  host: z.string().min(1).max(255).describe("Name or address, or the folder of a Unix socket."),
  port: z.int().min(1).max(65_535).default(5432).describe("Its port."),
  database: name.describe("The database that is lent."),
  tls: tlsSchema.optional().describe("Verified TLS: `true`, `false`, or `{ ca: PEM }`. Absent: on, unless the host is this machine."),
});

export const adminSchema = z.strictObject({
  vault: z.string().min(1).describe("Name of a vault in `vaults`."),
  secret: z.string().min(1).describe("Name of the secret in it."),
});

/** The `postgres` part of a catalogue entry. Parsing what was already parsed changes nothing. */
export const postgresSchema = z
  .strictObject({
    target: targetSchema.describe("Where the database is."),
    admin: adminSchema.describe('Who makes the roles: a secret of the form `{ "username": "…", "password": "…" }`.'),
    grants: z
      .array(z.string().superRefine(checkGrant))
      .max(50)
      .default([])
      .describe("What each leased role may do: one `GRANT … TO {{role}}` a line."),
    inRole: z.array(name).max(20).default([]).describe("Groups whose member each leased role becomes."),
    connectionLimit: z.int().min(1).max(100).default(5).describe("Sessions that one leased role may have open at once."),
    statementTimeout: duration.optional().describe("Given to the role as a setting. A session can change it: advice, not a boundary."),
    onEnd: z.enum(["drop", "reassign"]).default("drop").describe("What becomes of objects that a leased role created."),
    owner: name.optional().describe("Who gets them, with `onEnd: reassign`."),
    sql: z
      .strictObject({
        searchPath: z
          .array(name)
          .min(1)
          .max(10)
          .default(["public"])
          .describe("Schemas in which unqualified table names are looked up, in this order."),
        maxRows: z.int().min(1).max(1000).default(1000).describe("Most rows of one answer."),
        timeout: duration.default("15s").describe("How long one query may run."),
      })
      .prefault({})
      .describe("How the broker runs queries itself (`query_database`)."),
  })
  .refine((spec) => spec.grants.length + spec.inRole.length > 0, {
    path: ["grants"],
    error: "names no right to lend: add grants or inRole",
  })
  .refine((spec) => (spec.onEnd === "reassign") === (spec.owner !== undefined), {
    path: ["owner"],
    error: "goes with onEnd: reassign, and is needed there",
  });

export type PostgresSpec = z.output<typeof postgresSchema>;
export type Tls = z.output<typeof tlsSchema>;

const allowed = /^(?:grant\s|alter\s+default\s+privileges\s|alter\s+role\s+\{\{role\}\}\s+(?:in\s+database\s+\S+\s+)?set\s)/i;
const powerful = /\bpg_(?:execute_server_program|write_server_files|read_server_files|signal_backend|create_subscription|maintain)\b/i;

/**
 * A grant is one statement that gives rights to the leased role and to nobody else. The server is the
 * judge of its syntax; this refuses what is never meant, when the configuration is loaded.
 */
function checkGrant(template: string, context: z.RefinementCtx): void {
  const problem = problemWith(template);
  if (problem) context.addIssue({ code: "custom", message: problem });
}

function problemWith(template: string): string | undefined {
  if (/\$[^\s$]*\$|--|\/\*|\0|\\/.test(template)) return "must not contain comments, dollar quotes or backslashes";
  const bare = template.trim().replace(/'(?:[^']|'')*'|"(?:[^"]|"")*"/g, "_");
  if (/['"]/.test(bare)) return "has an unfinished quote";
  if (bare.includes(";")) return "must be one statement, without a semicolon";
  if (!bare.includes(placeholder)) return `must name the leased role as ${placeholder}, outside of quotes`;
  if (bare.replaceAll(placeholder, "").includes("{{")) return `knows no placeholder but ${placeholder}`;
  if (!allowed.test(bare)) return `must start with GRANT, ALTER DEFAULT PRIVILEGES or ALTER ROLE ${placeholder} SET`;
  if (/\bwith\s+(?:grant|admin)\b/i.test(bare)) return "must not let the leased role pass rights on (WITH GRANT OPTION, WITH ADMIN)";
  if (powerful.test(template)) return "must not lend a group that reaches beyond the database";
  return undefined;
}

/** The statement that a template becomes. `quoted` is an identifier in double quotes. */
export function fillGrant(template: string, quoted: string): string {
  return template.replaceAll(placeholder, () => quoted);
}

/** Any text as one SQL identifier. */
export function identifier(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

/** Milliseconds. */
export function milliseconds(text: string): number {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
  const unit = text.replace(/^[0-9]+/, "");
  return Number.parseInt(text, 10) * (units[unit] ?? 1);
}

/** Loopback and sockets need no TLS; everything else gets it unless the operator says no. */
export function tlsFor(target: { readonly host: string; readonly tls?: Tls | undefined }): Tls {
  const here = target.host.startsWith("/") || target.host === "localhost" || target.host === "::1" || /^127\.[0-9.]+$/.test(target.host);
  return target.tls ?? !here;
}
