import type { CatalogueEntry } from "../core/catalogue.ts";

/** What a catalogue entry says about HTTP: where requests may go, and how the credential goes with them. */
export interface HttpTarget {
  /** Scheme, host and port, and a path without a slash at its end that comes before every request's own. */
  readonly origin: string;
  readonly basePath: string;
  /** Sent with every request. `{{secret}}` stands for the credential. Agents cannot set these. */
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  /** Paths are relative to the base, like those of requests. */
  readonly allow: readonly { readonly method: string; readonly path: string }[];
  /** `true`: this machine and private networks. A list: exactly these networks beside the public Internet. */
  readonly privateNetwork: boolean | readonly string[];
  readonly maxResponseBytes: number;
  /** Milliseconds from sending to the last byte. */
  readonly timeout: number;
  readonly followRedirects: number;
}

/** Compiled from the entry's spec by whoever validated it. `undefined`: this entry has no HTTP part. */
export type HttpTargetOf = (entry: CatalogueEntry) => HttpTarget | undefined;
