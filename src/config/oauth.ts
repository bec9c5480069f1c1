import { z } from "zod";
import { duration, path, reference, roleName } from "./fields.ts";

const issuer = z.url({ protocol: /^https?$/, error: "expected the issuer's URL, as its tokens say it" });

/** Where the keys of an issuer are found. Neither: by discovery at the issuer (RFC 8414, OpenID Connect Discovery). */
const keysOf = {
  jwksUri: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("Where its keys are. Absent: found by discovery at the issuer."),
  jwks: path.optional().describe("A file with its keys (JWK Set), for issuers that cannot be reached from here."),
};

const pattern = z.string().min(1).max(512);

/** Agents that a workload becomes: one by name, or one per value of its claims. */
const federation = z.strictObject({
  issuer: issuer.describe("Who signs the workload's tokens, e.g. `https://token.actions.githubusercontent.com`."),
  ...keysOf,
  audience: z.string().min(1).optional().describe("What its `aud` must be. Default: `server.publicUrl`."),
  claims: z
    .record(z.string().min(1).max(128), z.union([pattern, z.array(pattern).min(1).max(64)]))
    .describe(
      "What its claims must be, all of them; `*` stands for any text without `/`, `**` for any. Say at least who it is: `{ repository: acme/shop, ref: refs/heads/main }`.",
    ),
  agent: z
    .string()
    .min(1)
    .max(200)
    .describe("The agent that it is. `{{claim}}` stands for a claim: `ci-{{repository}}` makes an agent for each repository."),
  roles: z.array(roleName).default([]).describe("Roles of agents that are made this way. An agent under `agents` has its own."),
  ttl: duration({ max: "1h" }).prefault("10m").describe("How long its access tokens live, and never longer than the token it brought."),
});

const registration = z.strictObject({
  open: z.boolean().default(true).describe("Whether anyone may register (RFC 7591). Such an agent has no roles: policy grants it nothing."),
  metadataDocuments: z.boolean().default(true).describe("Whether a client may name itself by the https URL of its metadata."),
  softwareStatements: z
    .array(z.strictObject({ issuer, ...keysOf, roles: z.array(roleName).default([]).describe("What its bearer gets.") }))
    .default([])
    .describe("Issuers whose signed statements a registration may bring along (RFC 7591 section 2.3)."),
  perHour: z.int().min(1).max(100_000).default(60).describe("Registrations per hour and address without an invitation."),
  clients: z.int().min(1).max(1_000_000).default(1_000).describe("Registrations that exist at once without an invitation."),
  unusedFor: duration({ max: "8760h" }).prefault("24h").describe("A registration that nobody ever signed in with goes after that long."),
  idleFor: duration({ max: "8760h" }).prefault("2160h").describe("One that was not used for this long goes, too."),
});

const people = z.strictObject({
  sessionFor: duration({ max: "24h" }).prefault("8h").describe("How long a sign-in lasts in the browser."),
  openid: z
    .strictObject({
      issuer: issuer.describe("An OpenID provider that people sign in with, e.g. `https://login.example.com`."),
      clientId: z.string().min(1),
      clientSecret: reference.optional().describe("Where its secret is. Absent: a public client, with PKCE."),
      scopes: z.array(z.string().min(1)).default(["openid", "email", "profile"]),
      teams: z.string().min(1).default("groups").describe("The claim with a person's groups; policy sees them as teams."),
      allow: z
        .strictObject({
          emails: z.array(z.string().min(1)).default([]).describe("Addresses, or `*@example.com`. Counts when the provider verified it."),
          teams: z.array(z.string().min(1)).default([]),
        })
        .prefault({})
        .describe("Who may sign in. Nobody, until something is here."),
      operators: z.array(z.string().min(1)).default([]).describe("Teams whose members are operators; all others are members."),
    })
    .optional()
    .describe("Sign in with an OpenID provider. Local accounts go on working."),
});

/** How agents come to their tokens. */
export const oauth = z.strictObject({
  accessTokenTtl: duration({ max: "1h" }).prefault("10m").describe("How long an access token lives."),
  refreshTokenTtl: duration({ max: "8760h" }).prefault("720h").describe("How long a sign-in of an agent lasts without being used."),
  dpop: z
    .enum(["optional", "required"])
    .default("optional")
    .describe("Whether every token must be bound to a key of its client (RFC 9449)."),
  keyRotation: duration({ min: "1h", max: "8760h" }).prefault("720h").describe("How often the signing key changes."),
  requestsPerMinute: z.int().min(1).max(1_000_000).default(600).describe("Requests per minute and address to the authorization server."),
  registration: registration.prefault({}).describe("Who may become a client without the operator."),
  people: people.prefault({}).describe("How people sign in to consent."),
  federation: z.array(federation).default([]).describe("Workloads that come with a token of their platform instead of a secret."),
  enterprise: z
    .array(z.strictObject({ issuer, ...keysOf, teams: z.string().min(1).default("groups") }))
    .default([])
    .describe("Identity providers whose assertions (ID-JAG) sign people in for managed clients."),
});

/** OAuth keys of an agent in the configuration: a client that is known before it comes. */
export const agentOAuth = {
  redirectUris: z
    .array(z.string().min(1).max(2048))
    .max(20)
    .default([])
    .describe("Where people are sent back to. Loopback ones match on any port."),
  jwks: path.optional().describe("A file with its public keys (JWK Set): it proves itself by `private_key_jwt`."),
  certificate: z
    .string()
    .regex(/^[A-Za-z0-9_-]{43}$/, { error: "expected the SHA-256 thumbprint of its certificate in base64url, 43 characters" })
    .optional()
    .describe("Thumbprint of its TLS client certificate, which then is its identity. Wants `server.tls.clientCa`."),
  metadataDocument: z
    .url({ protocol: /^https$/ })
    .optional()
    .describe("The https URL of its client metadata, when it names itself by one."),
  dpop: z.enum(["optional", "required"]).default("optional").describe("Whether its tokens must be bound to a key."),
};
