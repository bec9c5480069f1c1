import * as oauth from "oauth4webapi";
import { isPlain } from "./address.ts";
import { unreachable } from "./problem.ts";

export type Fetch = (url: string, init: FetchInit) => Promise<Response>;

/** What `oauth4webapi` passes, and less. */
type FetchInit = Partial<Omit<oauth.CustomFetchOptions<string, oauth.ProtectedResourceRequestBody>, "signal">> & {
  readonly signal?: AbortSignal | undefined;
};

export const systemFetch: Fetch = (url, { signal, body, ...init }) =>
  globalThis.fetch(url, { ...init, body: body ?? null, ...(signal ? { signal } : {}) });

/** Requests about logins: short answers, and not waited for long. */
export interface Web {
  get(url: URL, headers?: Readonly<Record<string, string>>): Promise<Response>;
  /** What `oauth4webapi` is to send its requests with. Plain http is for this machine only. */
  options(at: URL): RequestOptions;
}

interface RequestOptions {
  readonly [oauth.customFetch]: Fetch;
  readonly [oauth.allowInsecureRequests]: boolean;
}

const largest = 1_048_576;
const patience = 30_000;

export function createWeb(parts: { readonly fetch: Fetch; readonly signal: AbortSignal }): Web {
  async function bounded(url: string, init: FetchInit): Promise<Response> {
    const signal = AbortSignal.any([parts.signal, AbortSignal.timeout(patience)]);
    try {
      const response = await parts.fetch(url, { ...init, redirect: "manual", signal });
      const body = await readBytes(response, largest);
      return new Response(body.length === 0 ? null : body, { status: response.status, headers: response.headers });
    } catch (thrown) {
      throw unreachable(new URL(url).origin, thrown);
    }
  }

  return {
    get: (url, headers = {}) => bounded(url.href, { headers: { accept: "application/json", ...headers } }),
    options: (at) => ({ [oauth.customFetch]: bounded, [oauth.allowInsecureRequests]: isPlain(at) }),
  };
}

/** The body, or it throws: more than `limit` bytes are not read. */
export async function readBytes(response: Response, limit: number): Promise<Buffer<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > limit) throw new RangeError("the answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/** Reads nothing more of an answer that is not wanted, so that its connection is free again. */
export async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => undefined);
}
