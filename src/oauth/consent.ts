import type { Grant, KoaContextWithOIDC, Provider } from "oidc-provider";
import { z } from "zod";
import { isLoopback } from "../config/loopback.ts";
import { isScope, scopes, unfold } from "../core/scope.ts";
import type { Scope } from "../core/scope.ts";
import type { Client } from "../identity/directory.ts";
import type { ClientShown } from "./pages/consent.ts";
import { shown } from "./pages/html.ts";

/** What a client asks for, as it was worked out when the request came in: it rests with the interaction until it is answered. */
const asked = z.object({
  /** Scopes of the protocol itself, e.g. `offline_access`. */
  oidc: z.array(z.string()),
  /** Scopes by resource (RFC 8707). */
  resources: z.record(z.string(), z.array(z.string())),
  /** `authorization_details` (RFC 9396). */
  details: z.array(z.looseObject({ type: z.string() })).default([]),
});
export type Asked = z.output<typeof asked>;

/** The details of a prompt for consent. */
export function askedFor({ oidc }: KoaContextWithOIDC): Record<string, unknown> {
  const wanted = [...oidc.requestParamScopes];
  const resources = Object.entries(oidc.resourceServers ?? {}).map(([id, server]) => [
    id,
    wanted.filter((scope) => server.scopes.has(scope)),
  ]);
  const details = oidc.params?.["authorization_details"];
  return {
    asked: {
      oidc: [...oidc.requestParamOIDCScopes],
      resources: Object.fromEntries(resources),
      ...(typeof details === "string" ? { details: JSON.parse(details) as unknown } : {}),
    },
  };
}

export function readAsked(details: Readonly<Record<string, unknown>>): Asked {
  return asked.parse(details["asked"]);
}

/** Our own scopes in it, in the order in which people read them. */
export function scopesIn({ oidc, resources }: Asked): readonly Scope[] {
  const wanted = new Set([...oidc, ...Object.values(resources).flat()]);
  return (Object.keys(scopes) as readonly string[]).filter(isScope).filter((scope) => wanted.has(scope));
}

/** Credentials that it narrows itself to; `undefined` when it does not. */
export function credentialsIn({ details }: Asked): readonly string[] | undefined {
  const named = details.flatMap((detail) => (Array.isArray(detail["credentials"]) ? detail["credentials"] : []));
  return details.length === 0 ? undefined : named.map((name) => shown(String(name)));
}

/**
 * Of what was asked, what a person left ticked. A scope that implies one they took the tick from goes as well: what
 * is not ticked is never granted by another name.
 */
export function chosen(wanted: readonly Scope[], ticked: readonly string[]): readonly Scope[] {
  const refused = new Set(wanted.filter((scope) => !ticked.includes(scope)));
  return wanted.filter((scope) => !unfold([scope]).some((implied) => refused.has(implied)));
}

/** A grant of what was chosen, and of nothing else. The rest is written down as refused, so that it is not asked again at once. */
export function grantOf(
  provider: Provider,
  who: { readonly accountId: string; readonly clientId: string },
  wanted: Asked,
  granted: readonly Scope[],
): Grant {
  const grant = new provider.Grant(who);
  const takes = (scope: string): boolean => !isScope(scope) || granted.includes(scope);
  for (const [resource, all] of Object.entries(wanted.resources)) {
    grant.addResourceScope(resource, all.filter(takes));
    grant.rejectResourceScope(
      resource,
      all.filter((scope) => !takes(scope)),
    );
  }
  grant.addOIDCScope(wanted.oidc.filter(takes));
  grant.rejectOIDCScope(wanted.oidc.filter((scope) => !takes(scope)));
  for (const detail of wanted.details) grant.addRar(detail);
  return grant;
}

/** A client as a person gets to see it: whatever it says of itself is bounded, and marked as its own words. */
export function showClient(
  id: string,
  client: (Client & { readonly vouched?: boolean }) | undefined,
  name: string | undefined,
  redirectUri: unknown,
): ClientShown {
  const document = URL.parse(id);
  const redirect = typeof redirectUri === "string" ? showRedirect(redirectUri) : undefined;
  // A document can only be vouched for by the operator, in the configuration.
  const known = client?.source === "operator" || (client?.source === "cimd" && client.vouched === true);
  return {
    name: shown((known ? client.name : undefined) ?? name ?? client?.name ?? id) || "(no name)",
    known,
    id: shown(id, 200),
    ...(document?.protocol === "https:" ? { host: document.host } : {}),
    ...(redirect ? { redirect } : {}),
  };
}

function showRedirect(uri: string): NonNullable<ClientShown["redirect"]> {
  const url = URL.parse(uri);
  if (!url || !/^https?:$/.test(url.protocol)) return { to: shown(uri), kind: "app" };
  return isLoopback(url.hostname) ? { to: `this computer (${url.host})`, kind: "this-computer" } : { to: url.host, kind: "host" };
}

/**
 * Where forms of this interaction may end up, as sources for `form-action`: Chromium holds the redirect that follows
 * a form to it, and ours goes to the client.
 */
export function formTargets(redirectUri: unknown): readonly string[] {
  const url = typeof redirectUri === "string" ? URL.parse(redirectUri) : null;
  if (!url) return [];
  if (!/^https?:$/.test(url.protocol)) return [url.protocol];
  // There is no way to write an IPv6 address as a source (CSP level 3, section 2.3.1).
  return [url.hostname.startsWith("[") ? url.protocol : url.origin];
}
