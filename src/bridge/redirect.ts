import { createServer } from "node:http";
import { once } from "node:events";
import { redirectPath } from "./registration.ts";

/** Where the browser brings the answer back to: this machine only, and only while somebody waits (RFC 8252 sections 7.3 and 8.3). */
export interface Redirect {
  readonly uri: string;
  /** The parameters of the one answer with our state. */
  readonly answer: Promise<URLSearchParams>;
  close(): void;
}

export async function awaitRedirect(state: string, signal: AbortSignal): Promise<Redirect> {
  const { promise: answer, resolve, reject } = Promise.withResolvers<URLSearchParams>();
  answer.catch(() => undefined);
  const server = createServer({ maxHeaderSize: 16 * 1024, requestTimeout: 10_000 }, (request, response) => {
    const url = new URL(request.url ?? "/", uri);
    // A name that was made to point here is somebody's page, not the browser coming back.
    const ours = request.method === "GET" && request.headers.host === new URL(uri).host && url.pathname === redirectPath;
    // Guesses of other programs on this machine end nothing: we go on waiting for ours.
    const known = ours && url.searchParams.get("state") === state;
    const failed = url.searchParams.has("error");
    response.writeHead(known ? 200 : 404, {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
      "referrer-policy": "no-referrer",
      "cache-control": "no-store",
      connection: "close",
    });
    response.end(
      known ? page(failed ? "You were not signed in." : "You are signed in.") : page("This is not the page you are looking for."),
    );
    if (known) response.once("close", () => resolve(url.searchParams));
  });
  server.maxConnections = 16;
  server.listen(0, "127.0.0.1");
  await once(server, "listening", { signal });
  const address = server.address();
  const uri = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}${redirectPath}`;

  const close = (): void => {
    signal.removeEventListener("abort", abort);
    server.close();
    server.closeAllConnections();
  };
  const abort = (): void => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  return { uri, answer, close };
}

function page(text: string): string {
  return `<!doctype html><html lang="en"><title>Leasehold</title><p>${text} You can close this window.</p></html>`;
}
