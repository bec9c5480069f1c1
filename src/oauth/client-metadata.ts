import { deviceGrant } from "../identity/operator-client.ts";
import { isNative, longestUri, redirectProblem } from "../identity/redirect-uri.ts";

/** What a client that registers itself may say of itself (RFC 7591 section 2). Everything else is ignored, `scope` too: policy limits. */
const members = [
  "client_name",
  "client_uri",
  "logo_uri",
  "policy_uri",
  "tos_uri",
  "contacts",
  "redirect_uris",
  "grant_types",
  "response_types",
  "token_endpoint_auth_method",
  "token_endpoint_auth_signing_alg",
  "jwks",
  "jwks_uri",
  "dpop_bound_access_tokens",
  "software_id",
  "software_version",
  "software_statement",
] as const;

/** What we say of it. */
const ours = ["client_id", "client_id_issued_at", "client_secret", "client_secret_expires_at"] as const;

/** Members that the provider does not know by itself. */
export const extraMembers = ["software_id", "software_version", "software_statement"] as const;

export type Metadata = Readonly<Record<string, unknown>>;

/** Who is judged: by how it came, a client may have more or fewer grants. */
export interface Standing {
  readonly how: "registration" | "document";
  /** Grant types beyond those of everyone. */
  readonly grants: readonly string[];
}

type Judged =
  | { readonly metadata: Metadata }
  | { readonly error: "invalid_redirect_uri" | "invalid_client_metadata"; readonly problem: string };

const everyonesGrants: readonly string[] = ["authorization_code", "refresh_token", deviceGrant];
const methods: ReadonlySet<unknown> = new Set(["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]);
const longestName = 200;
const largest = 16 * 1024;

/** What a request or a document asks for: the known members of it and no others. */
export function requested(body: Metadata): Metadata {
  return pick(body, members);
}

/**
 * What a client becomes that registers with this. Grant types that it may not have are left out (RFC 7591 section
 * 3.2.1 lets a server do so, and says that the response tells); what would be unsafe is an error.
 */
export function judge(given: Metadata, standing: Standing): Judged {
  const document = standing.how === "document";
  const { client_name: called, ...named } = { ...pick(given, ours), ...pick(given, members) };
  if (JSON.stringify(named).length > largest) return invalid(`the metadata is larger than ${largest} bytes`);

  const name = cleanName(called);
  if (name === false) return invalid(`client_name must be printable text of at most ${longestName} characters`);

  const uris = named["redirect_uris"] ?? [];
  if (!Array.isArray(uris) || uris.length > 20)
    return { error: "invalid_redirect_uri", problem: "redirect_uris must be a list of at most 20" };
  for (const uri of uris) {
    const problem = redirectProblem(uri);
    if (problem !== undefined) return { error: "invalid_redirect_uri", problem: `redirect_uris ${problem}` };
  }
  const redirects = uris.map(String);

  const method = document && isSecret(named["token_endpoint_auth_method"]) ? "none" : named["token_endpoint_auth_method"];
  if (!methods.has(method)) return invalid("token_endpoint_auth_method is not supported");
  const grants = grantsOf(named["grant_types"], [...everyonesGrants, ...standing.grants]);
  if (!grants.some((grant) => grant !== "refresh_token")) return invalid("grant_types has none that this client may use");
  if (grants.includes("client_credentials") && method === "none")
    return invalid("client_credentials wants a client that authenticates itself");

  const problem = sizes(named);
  if (problem !== undefined) return invalid(problem);
  return {
    metadata: {
      ...named,
      ...(name === undefined ? {} : { client_name: name }),
      redirect_uris: redirects,
      // Loopback addresses match on any port for native clients only (RFC 8252 section 7.3), and mixed sets exist.
      application_type: isNative(redirects) ? "native" : "web",
      token_endpoint_auth_method: method,
      grant_types: grants,
      response_types: grants.includes("authorization_code") ? ["code"] : [],
    },
  };
}

/** `undefined`: it has none. `false`: one that cannot be shown. What turns text around or hides in it is taken out. */
function cleanName(name: unknown): string | undefined | false {
  if (name === undefined) return undefined;
  if (typeof name !== "string" || name.length > 4 * longestName || !name.isWellFormed()) return false;
  const shown = name
    .normalize("NFC")
    .replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, "")
    .replace(/\s+/gu, " ")
    .trim();
  return shown.length > 0 && shown.length <= longestName && shown;
}

function grantsOf(given: unknown, allowed: readonly string[]): readonly string[] {
  const wanted: readonly unknown[] = Array.isArray(given) ? given : [];
  return allowed.filter((grant) => wanted.includes(grant));
}

/** Nothing here is ever fetched but `jwks_uri`, and that with care. The provider checks the rest of their syntax. */
function sizes(metadata: Metadata): string | undefined {
  for (const member of ["client_uri", "logo_uri", "policy_uri", "tos_uri", "jwks_uri"]) {
    const uri = metadata[member];
    if (uri === undefined) continue;
    if (typeof uri !== "string" || uri.length > longestUri || !/^https?:\/\/[!-~]+$/.test(uri)) return `${member} must be a web URL`;
    if (member === "jwks_uri" && !uri.startsWith("https:")) return "jwks_uri must be https";
  }
  for (const member of ["software_id", "software_version"]) {
    const text = metadata[member];
    if (text !== undefined && (typeof text !== "string" || !/^[ -~]{1,200}$/.test(text)))
      return `${member} must be at most 200 printable characters`;
  }
  const { contacts } = metadata;
  if (contacts !== undefined && (!Array.isArray(contacts) || contacts.length > 10 || contacts.some((one) => String(one).length > 254)))
    return "contacts must be at most 10 addresses";
  return undefined;
}

/** Documents are public: the default of RFC 7591 makes no sense for them. */
function isSecret(method: unknown): boolean {
  return typeof method === "string" && method.startsWith("client_secret");
}

function pick(from: Metadata, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.flatMap((name) => (Object.hasOwn(from, name) && from[name] !== undefined ? [[name, from[name]]] : [])));
}

function invalid(problem: string): Judged {
  return { error: "invalid_client_metadata", problem };
}
