import { canonicalPath } from "./http-path.ts";
import type { HttpRequest } from "./http-request.ts";
import { isAllowed } from "./http-request.ts";
import type { HttpTarget } from "./http-target.ts";

/** What a redirecting response comes to. */
export type Redirect =
  | { readonly kind: "follow"; readonly request: HttpRequest }
  /** Not followed, and where to is fit to be shown: the agent can ask for it itself. */
  | { readonly kind: "show"; readonly location: string }
  | { readonly kind: "hide"; readonly note: string };

/**
 * Only another path of the same origin is ever followed, as GET (or HEAD), and only where the allow
 * list has it. Another host never gets the credential, and its address is not passed on: it is the
 * upstream's choice, and may carry what the upstream knows.
 */
export function judgeRedirect(target: HttpTarget, request: HttpRequest, status: number, location: string, left: number): Redirect {
  const here = new URL(`${target.origin}${request.path}`);
  const there = URL.canParse(location, here.href) ? new URL(location, here.href) : undefined;
  if (!there || there.origin !== target.origin || there.username !== "" || there.password !== "")
    return { kind: "hide", note: "The target redirects to another host. That was not followed." };
  let path: string;
  let query: string;
  try {
    ({ path, query } = canonicalPath(`${there.pathname}${there.search}`));
  } catch {
    return { kind: "hide", note: "The target redirects to a path that is not well-formed. That was not followed." };
  }
  const shown = { kind: "show", location: `${path}${query}` } as const;
  const keepsMethod = status === 307 || status === 308;
  const method = request.method === "HEAD" ? "HEAD" : "GET";
  if (left <= 0 || (keepsMethod && request.method !== method)) return shown;
  if (!path.startsWith(`${target.basePath}/`) || !isAllowed(target, method, path.slice(target.basePath.length))) return shown;
  const { accept, "accept-language": language } = request.headers;
  const headers = { ...(accept === undefined ? {} : { accept }), ...(language === undefined ? {} : { "accept-language": language }) };
  return { kind: "follow", request: { method, path, query, headers } };
}

export function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}
