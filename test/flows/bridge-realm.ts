import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { once } from "node:events";
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server";
import { calculateJwkThumbprint, decodeJwt, EmbeddedJWK, exportJWK, generateKeyPair, jwtVerify, SignJWT } from "jose";
import { errors, Provider } from "oidc-provider";
import type { Adapter, ClientMetadata } from "oidc-provider";
import { z } from "zod";

/** What the broker of a test does to the next requests for MCP, instead of answering. */
export type Mischief = (request: IncomingMessage, response: ServerResponse, body: string) => boolean | Promise<boolean>;

export interface RealmOptions {
  readonly dpop?: boolean;
  readonly clients?: readonly ClientMetadata[];
  /** Seconds that an access token lives. */
  readonly ttl?: number;
  /** What a registration has to bring along. */
  readonly invitation?: string;
  /** Alters a metadata document on its way out. */
  readonly metadata?: (path: string, document: Record<string, unknown>) => Record<string, unknown>;
  /** Alters where the browser is sent back to. */
  readonly redirect?: (url: URL) => URL;
}

/** A broker elsewhere: an authorization server that consents by itself, and a small MCP server behind it. */
export async function startRealm(options: RealmOptions = {}) {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const origin = `http://127.0.0.1:${port}`;
  const resource = `${origin}/mcp`;

  const { privateKey } = await generateKeyPair("ES256", { extractable: true });
  const scopes = ["credentials:read", "leases:read", "leases:write", "use", "use:http", "use:sql"];
  const provider = new Provider(origin, {
    clients: [
      { client_id: "workload", token_endpoint_auth_method: "none", grant_types: [jwtBearer], response_types: [], redirect_uris: [] },
      ...(options.clients ?? []),
    ],
    jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: "ES256", use: "sig", kid: "one" }] },
    cookies: { keys: ["a key of a test"] },
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: true, initialAccessToken: options.invitation ?? false },
      revocation: { enabled: true },
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      pushedAuthorizationRequests: { enabled: true },
      dPoP: { enabled: options.dpop !== false, nonceSecret: Buffer.alloc(32, 1), requireNonce: () => state.nonces },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: scopes.join(" "),
          audience: resource,
          accessTokenFormat: "jwt",
          accessTokenTTL: options.ttl ?? 600,
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
    clientAuthMethods: ["none", "private_key_jwt"],
    issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
    rotateRefreshToken: true,
    pkce: { required: () => true },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    ttl: { Session: 3600, Grant: 3600, Interaction: 600, RefreshToken: 3600, AccessToken: 600, DeviceCode: 600 },
  });
  const state = {
    nonces: false,
    mischief: [] as Mischief[],
    /** Requests for MCP, as they came. */
    seen: [] as { method: string; headers: IncomingMessage["headers"]; body: string; scheme: string | undefined }[],
    /** Paths and parameters of the authorization server. */
    asked: [] as { path: string; form: Record<string, unknown>; dpop: string; authorization: string }[],
    registered: 0,
    cancelled: 0,
    assertions: [] as string[],
    /** Scopes that a caller without a token is told to ask for. */
    wanted: "credentials:read leases:read",
    revokedTokens: new Set<string>(),
  };
  provider.on("registration_create.success", () => (state.registered += 1));

  provider.registerGrantType(
    jwtBearer,
    async (context) => {
      const assertion = String(context.oidc.params?.["assertion"]);
      state.assertions.push(assertion);
      if (assertion === "bad") throw new errors.InvalidGrant("not this one");
      const expires = options.ttl ?? 600;
      const token = await new SignJWT({ sub: assertion })
        .setProtectedHeader({ alg: "ES256" })
        .setExpirationTime(`${expires}s`)
        .sign(privateKey);
      context.body = { access_token: token, token_type: "Bearer", expires_in: expires };
    },
    ["assertion", "scope", "resource"],
  );

  const handler = createMcpHandler(() => {
    const mcp = new McpServer({ name: "realm", version: "1.0.0" });
    mcp.registerTool("echo", { inputSchema: z.object({ text: z.string() }) }, ({ text }) => ({ content: [{ type: "text", text }] }));
    mcp.registerTool("slow", { inputSchema: z.object({ ms: z.number() }) }, async ({ ms }, context) => {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        context.mcpReq.signal.addEventListener("abort", () => {
          clearTimeout(timer);
          state.cancelled += 1;
          resolve();
        });
      });
      return { content: [{ type: "text", text: "at last" }] };
    });
    return mcp;
  });

  const proofNonce = "a-nonce-of-the-resource";
  const resourceState = { nonces: false };

  /** What is wrong with who asks; `undefined`: nothing. */
  async function complaint(request: IncomingMessage): Promise<string | undefined> {
    const [scheme, token = ""] = (request.headers.authorization ?? "").split(" ");
    if (scheme === "") return "";
    try {
      const claims = decodeJwt(token);
      if (state.revokedTokens.has(token) || (claims.exp ?? 0) * 1000 < Date.now()) return 'error="invalid_token", ';
      const bound = (claims["cnf"] as { jkt?: string } | undefined)?.jkt;
      if ((bound === undefined) !== (scheme === "Bearer")) return 'error="invalid_token", ';
      if (bound !== undefined) {
        const { payload, protectedHeader } = await jwtVerify(String(request.headers["dpop"]), EmbeddedJWK, { typ: "dpop+jwt" });
        const key = await calculateJwkThumbprint(protectedHeader.jwk ?? {});
        if (resourceState.nonces && payload["nonce"] !== proofNonce) return 'error="use_dpop_nonce", ';
        const right =
          key === bound &&
          payload["htm"] === request.method &&
          payload["htu"] === resource &&
          payload["ath"] === createHash("sha256").update(token).digest("base64url");
        if (!right) return 'error="invalid_dpop_proof", ';
      }
      return undefined;
    } catch {
      return 'error="invalid_token", ';
    }
  }

  async function serveMcp(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const wrong = await complaint(request);
    if (wrong !== undefined) {
      const scheme = wrong.includes("dpop") ? "DPoP" : "Bearer";
      response.writeHead(401, {
        "www-authenticate": `${scheme} ${wrong}scope="${state.wanted}", resource_metadata="${origin}/.well-known/oauth-protected-resource/mcp"`,
        ...(resourceState.nonces ? { "dpop-nonce": proofNonce } : {}),
      });
      return void response.end('{"error":"invalid_token"}');
    }
    state.seen.push({ method: request.method ?? "", headers: request.headers, body, scheme: request.headers.authorization?.split(" ")[0] });
    const mischief = state.mischief.shift();
    if (mischief && (await mischief(request, response, body))) return;
    const gone = new AbortController();
    response.once("close", () => response.writableFinished || gone.abort());
    const headers = new Headers(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    const answer = await handler.fetch(
      new Request(resource, {
        method: request.method ?? "GET",
        headers,
        signal: gone.signal,
        ...(request.method === "POST" ? { body } : {}),
      }),
    );
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    for await (const chunk of answer.body ?? []) response.write(chunk);
    response.end();
  }

  async function interact(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { prompt, params, session } = await provider.interactionDetails(request, response);
    if (prompt.name === "login") return provider.interactionFinished(request, response, { login: { accountId: "ada" } });
    const grant = new provider.Grant({ accountId: session?.accountId ?? "", clientId: String(params["client_id"]) });
    grant.addResourceScope(resource, typeof params["scope"] === "string" ? params["scope"] : scopes.join(" "));
    return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
  }

  provider.use(async (context, next) => {
    await next();
    const form: unknown = context["oidc"]?.body;
    if (typeof form === "object" && form !== null)
      state.asked.push({ path: context.path, form: { ...form }, dpop: context.get("dpop"), authorization: context.get("authorization") });
    if (context.path === "/device/auth") context.body = { ...context.body, interval: 1 };
    if (options.metadata && context.path.startsWith("/.well-known/")) context.body = options.metadata(context.path, { ...context.body });
    const location: unknown = context.response.get("location");
    if (options.redirect && typeof location === "string" && location.includes("/callback?"))
      context.set("location", options.redirect(new URL(location)).href);
  });

  const callback = provider.callback();
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const path = (request.url ?? "").split("?", 1)[0] ?? "";
    if (path === "/mcp") return void serveMcp(request, response).catch(() => response.destroy());
    if (path.startsWith("/interaction/")) return void interact(request, response).catch(() => response.destroy());
    if (path === "/.well-known/oauth-protected-resource/mcp") {
      const document = { resource, authorization_servers: [origin], scopes_supported: scopes };
      response.writeHead(200, { "content-type": "application/json" });
      return void response.end(JSON.stringify(options.metadata?.(path, document) ?? document));
    }
    if (path === "/.well-known/oauth-authorization-server") request.url = "/.well-known/openid-configuration";
    return void callback(request, response);
  });

  return {
    origin,
    resource,
    provider,
    state,
    resourceState,
    /** As an idle registration is removed: nobody is told. */
    async forget(clientId: string): Promise<void> {
      const { adapter } = provider.Client as unknown as { readonly adapter: Adapter };
      await adapter.destroy(clientId);
    },
    async stop(): Promise<void> {
      server.closeAllConnections();
      server.close();
      await handler.close();
    },
  };
}

const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";

export type Realm = Awaited<ReturnType<typeof startRealm>>;
