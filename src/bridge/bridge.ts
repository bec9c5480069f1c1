import { hostname } from "node:os";
import type { Readable, Writable } from "node:stream";
import { once } from "node:events";
import type { Access } from "./access.ts";
import type { Env } from "./browser.ts";
import { openBrowser } from "./browser.ts";
import { createLogins } from "./logins.ts";
import { byKey, byWorkload, createMachine, tokenInFile, tokenOfGitHubJob } from "./machine.ts";
import type { Person } from "./person.ts";
import { createPerson } from "./person.ts";
import { relay } from "./relay.ts";
import { createUpstream } from "./upstream.ts";
import type { Fetch } from "./web.ts";
import { createWeb, systemFetch } from "./web.ts";

/** How to be someone at the broker. */
export type How =
  | { readonly by: "browser" | "device"; readonly clientId?: string; readonly invitation?: () => Promise<string | undefined> }
  | { readonly by: "key"; readonly clientId: string; readonly file: string }
  | { readonly by: "workload"; readonly file: string }
  | { readonly by: "github" };

export interface BridgeParts {
  /** The broker's MCP endpoint: see `endpointOf`. */
  readonly server: URL;
  readonly how: How;
  /** Absent: the person opens the URL that they are told. */
  readonly browser: boolean;
  /** Says a line to the person; never to stdout. */
  readonly tell: (line: string) => void;
  readonly env: Env;
  readonly now: () => number;
  readonly signal: AbortSignal;
  readonly fetch?: Fetch;
  readonly platform?: NodeJS.Platform;
  /** Milliseconds that a person has to sign in; five minutes unless said. */
  readonly patience?: number;
}

/** Speaks MCP on `input` and `output` until the input ends or the signal comes. */
export async function runBridge(parts: BridgeParts & { readonly input: Readable; readonly output: Writable }): Promise<void> {
  const { input, output, tell } = parts;
  const over = new AbortController();
  const signal = AbortSignal.any([parts.signal, over.signal]);
  const fetch = parts.fetch ?? systemFetch;
  const access = accessOf({ ...parts, signal });
  // Renewed while the client is still thinking of its first request.
  access.current().catch(() => undefined);
  const end = (): void => void input.destroy();
  parts.signal.addEventListener("abort", end, { once: true });
  if (parts.signal.aborted) end();
  try {
    await relay({
      upstream: createUpstream({ server: parts.server, access, fetch }),
      input: untilDestroyed(input),
      output: async (line) => {
        if (!output.write(`${line}\n`)) await once(output, "drain", { signal });
      },
      tell,
      signal: parts.signal,
    });
  } finally {
    parts.signal.removeEventListener("abort", end);
    over.abort();
  }
}

/** Signs in ahead of time. Answers where the login is kept, in words. */
export function signIn(parts: BridgeParts): Promise<string> {
  const afresh = "invitation" in parts.how && parts.how.invitation !== undefined;
  return personOf(parts).signIn({ afresh });
}

export function signOut(parts: BridgeParts): ReturnType<Person["signOut"]> {
  return personOf(parts).signOut();
}

function accessOf(parts: BridgeParts): Access {
  const { how, server, env, now } = parts;
  if (how.by === "browser" || how.by === "device") return personOf(parts);
  const web = webOf(parts);
  const prove =
    how.by === "key"
      ? byKey(how.clientId, how.file)
      : byWorkload(how.by === "workload" ? tokenInFile(how.file) : tokenOfGitHubJob(web, env));
  return createMachine({ server, prove, web, now });
}

function personOf(parts: BridgeParts): Person {
  const { server, how, env, tell, now, signal } = parts;
  if (how.by !== "browser" && how.by !== "device") throw new TypeError("only people sign in");
  const platform = parts.platform ?? process.platform;
  return createPerson({
    server,
    how: how.by,
    clientId: how.clientId,
    invitation: how.invitation ?? (() => Promise.resolve(undefined)),
    hostname: hostname(),
    logins: createLogins({ platform, env, signal }),
    web: webOf(parts),
    open: parts.browser ? (url) => openBrowser(url, { platform, env }) : undefined,
    tell,
    now,
    signal,
    patience: parts.patience ?? 300_000,
  });
}

function webOf({ fetch = systemFetch, signal }: BridgeParts): ReturnType<typeof createWeb> {
  return createWeb({ fetch, signal });
}

async function* untilDestroyed(input: Readable): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of input) if (chunk instanceof Uint8Array) yield chunk;
  } catch (thrown) {
    if (!input.destroyed) throw thrown;
  }
}
