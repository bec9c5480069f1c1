import { Hono } from "hono";
import type { CorrelationId } from "../core/brand.ts";
import { isLeaseId } from "../core/brand.ts";
import type { Broker } from "../core/broker.ts";
import { asFailure, Failure } from "../core/errors.ts";
import type { Material } from "../core/ports.ts";
import type { Principal } from "../core/principal.ts";
import type { Scope } from "../core/scope.ts";
import { allScopes } from "../core/scope.ts";
import { dpopAlgorithms } from "../identity/dpop.ts";
import type { App } from "./front.ts";
import { statusOf } from "./refusal.ts";

export interface AppParts {
  readonly broker: Broker;
  /** Without a trailing slash; `<publicUrl>/mcp` is the audience of access tokens. */
  readonly publicUrl: string;
  /** Issuers whose tokens are good here. Empty where tokens are minted at the command line only. */
  readonly authorizationServers: readonly string[];
  readonly dpopRequired: boolean;
  /** Whether tokens may be bound to TLS client certificates (RFC 8705 section 3.3). */
  readonly certificateBound: boolean;
  /** The values of a redeemed lease by field: `delivery/` knows how. */
  readonly reveal: (material: Material) => Readonly<Record<string, string>>;
  readonly ready: () => boolean;
  readonly newCorrelation: () => CorrelationId;
  readonly logger: { error(facts: object, message: string): void };
}

interface Bindings {
  readonly caller: Principal | undefined;
  readonly body: unknown;
  readonly correlation: CorrelationId;
}

/** Paths that need no token: they say nothing that is not public. */
const publicPaths = new Set(["/healthz", "/readyz", "/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"]);

/** What both calls of `leasehold run` take: they end a lease, or hand out what is in it. */
const scopeBesideMcp: Scope = "leases:write";

/** What is served beside MCP: health, discovery, and the two calls of `leasehold run`. */
export function createApp(parts: AppParts): App<Principal> {
  const { broker } = parts;
  const app = new Hono<{ Bindings: Bindings }>();

  app.get("/healthz", (context) => context.json({ status: "ok" }));
  app.get("/readyz", (context) => {
    const ready = parts.ready();
    return context.json({ status: ready ? "ready" : "starting" }, ready ? 200 : 503);
  });

  // RFC 9728 section 2.
  const metadata = {
    ...(parts.authorizationServers.length > 0 ? { authorization_servers: parts.authorizationServers } : {}),
    scopes_supported: allScopes,
    bearer_methods_supported: ["header"],
    resource_name: "Leasehold",
    dpop_signing_alg_values_supported: dpopAlgorithms,
    ...(parts.dpopRequired ? { dpop_bound_access_tokens_required: true } : {}),
    ...(parts.certificateBound ? { tls_client_certificate_bound_access_tokens: true } : {}),
  };
  app.get("/.well-known/oauth-protected-resource", (context) => context.json({ resource: parts.publicUrl, ...metadata }));
  app.get("/.well-known/oauth-protected-resource/mcp", (context) => context.json({ resource: `${parts.publicUrl}/mcp`, ...metadata }));

  app.post("/v1/handles/redeem", async (context) => {
    const handle = textIn(context.env.body, "handle");
    const { lease, material } = await broker.redeem(callerOf(context.env), handle, context.env.correlation);
    return context.json({
      lease_id: lease.id,
      credential: lease.credential,
      expires_at: new Date(lease.expiresAt).toISOString(),
      fields: parts.reveal(material),
    });
  });

  app.post("/v1/leases/:id/revoke", async (context) => {
    const id = context.req.param("id");
    if (!isLeaseId(id)) throw new Failure("not_found", { what: "lease" });
    const lease = await broker.revoke(callerOf(context.env), id, context.env.correlation);
    return context.json({ lease_id: lease.id, credential: lease.credential, state: lease.state });
  });

  app.notFound((context) => context.json({ error: "not_found" }, 404));
  app.onError((thrown, { env: { correlation } }) => {
    const failure = asFailure(thrown);
    if (failure.cause !== undefined) parts.logger.error({ correlation, code: failure.code, err: failure.cause }, "a call failed");
    const body = { error: failure.code, error_description: failure.message, correlation_id: correlation };
    return Response.json(body, { status: statusOf[failure.code] });
  });

  return {
    access: (path) => (publicPaths.has(path) ? "public" : path.startsWith("/v1/") ? "caller" : undefined),
    scopes: (path) => (path.startsWith("/v1/") ? [scopeBesideMcp] : []),
    fetch: (request, bindings) => app.fetch(request, { ...bindings, correlation: parts.newCorrelation() }),
  };
}

function callerOf(env: Bindings): Principal {
  if (!env.caller) throw new Failure("unauthenticated", {});
  return env.caller;
}

/** A text of at most 512 characters in the request's body. */
function textIn(body: unknown, field: string): string {
  const value = typeof body === "object" && body !== null ? new Map<string, unknown>(Object.entries(body)).get(field) : undefined;
  if (typeof value !== "string" || value === "" || value.length > 512)
    throw new Failure("invalid_request", { problem: `${field}: expected a text of 1 to 512 characters` });
  return value;
}
