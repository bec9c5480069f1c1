import { isIP } from "node:net";
import { z } from "zod";
import type { CatalogueEntry } from "../core/catalogue.ts";
import { Failure } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import type { CredentialEngine, Material, Vault } from "../core/ports.ts";
import { Secret } from "../core/secret.ts";

const baseUrl = z.string().superRefine((text, context) => {
  // A parser would quietly undo escapes and dots; what an operator reads in the file is what counts.
  const plain = !/[%\\\s]|\/\.\.?(?:\/|$)/.test(text) && URL.canParse(text);
  const problem = plain ? problemOf(new URL(text)) : "expected a URL like https://api.example.com";
  if (problem) context.addIssue({ code: "custom", message: problem });
});

function problemOf(url: URL): string | undefined {
  if (url.protocol !== "https:" && url.protocol !== "http:") return "expected a URL like https://api.example.com";
  if (url.username !== "" || url.password !== "") return "a login does not belong into a URL; the credential goes into a header";
  if (url.search !== "" || url.hash !== "") return "expected a URL without query and fragment";
  if (!/^[A-Za-z0-9\-._~/]*$/.test(url.pathname) || url.pathname.includes("//")) return "expected a plain path, without escapes";
  return undefined;
}

/** Whatever frames a message or says where it goes is the client's, also when an operator writes it. */
const framing = /^(?:accept-encoding|connection|content-length|expect|host|keep-alive|te|trailer|transfer-encoding|upgrade|proxy-.*)$/i;

const header = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/, { error: "not a valid header name" })
    .refine((name) => !framing.test(name), { error: "this header cannot be set" })
    .describe("Agents cannot set this header, nor see it in a response."),
  value: z
    .string()
    .max(1_024)
    .regex(/^[\x20-\x7e]*$/, { error: "expected printable ASCII" })
    .refine((value) => !value.replaceAll("{{secret}}", "").includes("{{"), { error: "the only placeholder is {{secret}}" })
    .describe("`{{secret}}` stands for the credential."),
});

const rule = z.strictObject({
  method: z.enum(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]),
  path: z
    .string()
    .max(512)
    .refine(isPattern, { error: "expected a path like /api/v1/tickets or /api/v1/*; * is one segment, /** at the end is everything below" })
    .describe("Relative to baseUrl. `*` is one segment, `/**` at the end is everything below. Queries are not matched."),
});

/** Written as requests are once they are canonical: a pattern that no request can match is a mistake. */
function isPattern(path: string): boolean {
  const [start, ...segments] = path.split("/");
  return (
    start === "" &&
    segments.length > 0 &&
    segments.every((segment, i) => {
      const last = i === segments.length - 1;
      if (segment === "") return last;
      if (segment === "*" || (segment === "**" && last)) return true;
      return segment !== "." && segment !== ".." && /^[A-Za-z0-9\-._~!$&'()+,=:@]+$/.test(segment);
    })
  );
}

const network = z.string().refine(isNetwork, { error: "expected a network like 10.0.0.0/8" });

function isNetwork(text: string): boolean {
  const [address = "", bits, ...rest] = text.split("/");
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 6 ? 128 : 32));
}

const http = z
  .strictObject({
    baseUrl: baseUrl.describe("Where requests go. Their paths, and those of `allow`, are relative to it."),
    header: header.optional().describe("How the credential goes with each request."),
    headers: z.array(header).min(1).max(8).optional().describe("The same, when there are several."),
    allow: z.array(rule).min(1).max(200).describe("What may be requested; anything else is refused."),
    privateNetwork: z
      .union([z.boolean(), z.array(network).min(1)])
      .default(false)
      .describe("Whether the host may be on this machine or a private network: yes, or exactly in these networks."),
    maxResponseBytes: z.int().min(1_024).max(16_777_216).default(1_048_576).describe("Longer responses are cut off there."),
    timeout: z
      .string()
      .regex(/^(?:[1-9]\d?s|[1-9]\d{2}s|[1-5]m)$/, { error: "expected a duration like 30s, at most 5m" })
      .default("30s")
      .describe("From sending to the last byte."),
    followRedirects: z
      .int()
      .min(0)
      .max(3)
      .default(0)
      .describe("Redirects within the same host that are followed, as GET and within `allow`."),
  })
  .superRefine((value, context) => {
    const headers = [...(value.header ? [value.header] : []), ...(value.headers ?? [])];
    if (!headers.some((one) => one.value.includes("{{secret}}")))
      context.addIssue({
        code: "custom",
        path: ["header"],
        message: "no header carries {{secret}}, so the credential would never be used",
      });
    if (new Set(headers.map((one) => one.name.toLowerCase())).size < headers.length)
      context.addIssue({ code: "custom", path: ["headers"], message: "the same header is given twice" });
    if (value.baseUrl.toLowerCase().startsWith("http:") && value.privateNetwork === false)
      context.addIssue({
        code: "custom",
        path: ["baseUrl"],
        message: "plain http is for private networks only; use https, or set privateNetwork",
      });
  });

/** The keys of a `static` credential beside those that every credential has. */
const schema = z.strictObject({
  secret: z
    .strictObject({ vault: z.string().min(1).max(63), secret: z.string().min(1).max(512) })
    .describe("Where the value rests, e.g. `{ vault: local, secret: tickets/token }`."),
  field: z.string().min(1).max(128).optional().describe("Which member of the secret is lent, when the secret is JSON."),
  http: http
    .optional()
    .describe("An HTTP API that the broker can call with it. Without it, the credential cannot be used through `http_request`."),
});

/**
 * Lends a value that rests in a vault. Nothing is minted, so nothing can be undone: when the lease
 * ends, the value is as good as before. That is why it is used, not handed out, unless policy says so.
 */
export const staticEngine = {
  kind: "static",
  schema,
  create(deps: { readonly vault: (name: string) => Vault }): CredentialEngine {
    async function read(entry: CatalogueEntry, signal: AbortSignal): Promise<Material> {
      const { secret, field } = specOf(entry);
      const value = await fetched(deps.vault, secret, signal);
      return { fields: { secret: field === undefined ? value : memberOf(value, field, secret) } };
    }

    return {
      operations: (entry) => (specOf(entry).http ? ["http"] : []),
      plan: (order) => ({ ...specOf(order.entry).secret }),
      mint: (order, _handle, signal) => read(order.entry, signal),
      // At the target nobody knows of the lease: there is nothing to end, and nothing to prolong.
      undo: async () => undefined,
      extend: async () => undefined,
      read,
    };
  },
};

/** Where an entry's requests go, for the HTTP performer. `undefined`: it makes none. */
export function staticHttpTarget(entry: CatalogueEntry) {
  if (entry.engine !== staticEngine.kind) return undefined;
  const spec = specOf(entry).http;
  if (!spec) return undefined;
  const url = new URL(spec.baseUrl);
  return {
    origin: url.origin,
    basePath: url.pathname.replace(/\/+$/, ""),
    headers: [...(spec.header ? [spec.header] : []), ...(spec.headers ?? [])],
    allow: spec.allow,
    privateNetwork: spec.privateNetwork,
    maxResponseBytes: spec.maxResponseBytes,
    timeout: Number.parseInt(spec.timeout, 10) * (spec.timeout.endsWith("m") ? 60_000 : 1_000),
    followRedirects: spec.followRedirects,
  };
}

type Spec = z.output<typeof schema>;
const specs = new WeakMap<JsonObject, Spec>();

/** Specs are parsed once: an entry keeps its spec until the catalogue is loaded anew. */
function specOf(entry: CatalogueEntry): Spec {
  const known = specs.get(entry.spec) ?? schema.parse(entry.spec);
  specs.set(entry.spec, known);
  return known;
}

type Reference = Spec["secret"];

async function fetched(vault: (name: string) => Vault, { vault: name, secret }: Reference, signal: AbortSignal): Promise<Secret> {
  let found: Awaited<ReturnType<Vault["read"]>>;
  try {
    found = await vault(name).read(secret, signal);
  } catch (cause) {
    throw cause instanceof Failure ? cause : new Failure("vault_unavailable", {}, { cause });
  }
  if (found) return found.value;
  throw new Failure("vault_unavailable", {}, { cause: new Error(`vault ${name} holds no secret ${secret}`) });
}

function memberOf(value: Secret, field: string, { vault, secret }: Reference): Secret {
  const member = value.use((bytes) => {
    try {
      const parsed: unknown = JSON.parse(bytes.toString());
      return typeof parsed === "object" && parsed !== null && Object.hasOwn(parsed, field)
        ? Object.entries(parsed).find(([name]) => name === field)?.[1]
        : undefined;
    } catch {
      // The parser's own message quotes what it read.
      return undefined;
    }
  });
  if (typeof member === "string") return Secret.of(member);
  throw new Failure(
    "vault_unavailable",
    {},
    { cause: new Error(`secret ${secret} in vault ${vault} is not JSON with a text named ${field}`) },
  );
}
