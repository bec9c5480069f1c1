import * as oauth from "oauth4webapi";
import { isPlain, secured } from "./address.ts";
import { scopesOf } from "./challenge.ts";
import { BridgeProblem } from "./problem.ts";
import type { Web } from "./web.ts";

/** The broker's authorization server, and what the broker calls itself. */
export interface Realm {
  readonly as: oauth.AuthorizationServer;
  readonly issuer: URL;
  /** The resource that tokens are asked for (RFC 8707), as the broker spells it. */
  readonly resource: string;
  /** What the broker says there is to ask for. */
  readonly scopes: readonly string[];
}

/** From the broker's URL to its authorization server (RFC 9728 section 3, RFC 8414 section 3). `metadata` is what a challenge named. */
export async function discover(web: Web, server: URL, metadata?: string): Promise<Realm> {
  const { resource, issuer, scopes } = await describeResource(web, server, metadata);
  return { ...(await describeIssuer(web, issuer)), resource, scopes };
}

async function describeResource(
  web: Web,
  server: URL,
  metadata?: string,
): Promise<Pick<Realm, "resource" | "scopes"> & { readonly issuer: string }> {
  const places =
    metadata === undefined
      ? [`/.well-known/oauth-protected-resource${server.pathname}`, "/.well-known/oauth-protected-resource"].map(
          (path) => new URL(path, server),
        )
      : [secured(metadata, "the metadata that the broker names")];
  for (const place of places) {
    // Whoever answers for another origin has no say about this one.
    if (place.origin !== server.origin) throw notItself(place.origin);
    const response = await web.get(place);
    if (response.status === 404) continue;
    const facts = response.status === 200 ? await json(response) : {};
    const { resource, authorization_servers: issuers, scopes_supported: scopes } = facts;
    const issuer: unknown = Array.isArray(issuers) ? issuers[0] : undefined;
    if (typeof resource !== "string" || typeof issuer !== "string") throw noBroker(server);
    if (!isSame(resource, server)) throw notItself(resource);
    return { resource, issuer, scopes: Array.isArray(scopes) ? scopesOf(scopes.join(" ")) : [] };
  }
  throw noBroker(server);
}

/** The trailing slash that clients add, and nothing else, is the same resource (RFC 9728 section 3.3). */
function isSame(resource: string, server: URL): boolean {
  return URL.canParse(resource) && new URL(resource).href.replace(/\/$/, "") === server.href.replace(/\/$/, "");
}

export async function describeIssuer(web: Web, text: string): Promise<Pick<Realm, "as" | "issuer">> {
  const issuer = secured(text, "the broker's authorization server");
  const as = await findIssuer(web, issuer);
  // Byte by byte (RFC 8414 section 3.3), which comparing URLs is not.
  if (as.issuer !== text) throw new BridgeProblem("refused", "the authorization server does not call itself what the broker calls it");
  for (const [name, endpoint] of Object.entries(as)) {
    if (!name.endsWith("_endpoint") || typeof endpoint !== "string") continue;
    const url = secured(endpoint, `the ${name} of the authorization server`);
    if (isPlain(url) && !isPlain(issuer)) throw new BridgeProblem("refused", `the ${name} of the authorization server is not https`);
  }
  return { as, issuer };
}

async function findIssuer(web: Web, issuer: URL): Promise<oauth.AuthorizationServer> {
  for (const algorithm of ["oauth2", "oidc"] as const) {
    const response = await oauth.discoveryRequest(issuer, { ...web.options(issuer), algorithm });
    if (response.status === 404) continue;
    try {
      return await oauth.processDiscoveryResponse(issuer, response);
    } catch (cause) {
      throw new BridgeProblem("refused", "the metadata of the authorization server is not in order", { cause });
    }
  }
  throw new BridgeProblem("refused", "the authorization server has no metadata");
}

async function json(response: Response): Promise<Readonly<Record<string, unknown>>> {
  const parsed: unknown = await response.json().catch(() => undefined);
  return typeof parsed === "object" && parsed !== null ? { ...parsed } : {};
}

function noBroker(server: URL): BridgeProblem {
  return new BridgeProblem("refused", `${server.href} does not say how to sign in`, { fix: "Is it the URL of a Leasehold broker?" });
}

function notItself(resource: string): BridgeProblem {
  const itself = URL.canParse(resource) ? new URL(resource) : undefined;
  const fix = itself && `Use --server ${itself.origin}${itself.pathname}, if that is the broker you mean.`;
  return new BridgeProblem("refused", "the broker goes by another name", fix === undefined ? {} : { fix });
}
