import type { KeyObject } from "node:crypto";
import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { isLoopback } from "../config/loopback.ts";
import type { Page } from "./pages/layout.ts";
import { document } from "./pages/layout.ts";

/** An answer that ends a request with a page that says why. */
export class PageRefusal extends Error {
  override readonly name = "PageRefusal";
  readonly status: number;
  readonly title: string;
  /** Seconds. */
  readonly retryAfter?: number;

  constructor(status: number, title: string, sentence: string, more: { readonly retryAfter?: number; readonly cause?: unknown } = {}) {
    super(sentence, "cause" in more ? { cause: more.cause } : undefined);
    this.status = status;
    this.title = title;
    if (more.retryAfter !== undefined) this.retryAfter = more.retryAfter;
  }
}

/** What a form sent. */
export interface Form {
  /** Empty when it is not there. */
  get(name: string): string;
  all(name: string): readonly string[];
}

const largestForm = 16 * 1024;
const expired = (): PageRefusal => new PageRefusal(403, "This page is too old", "Go back, load it again, and send it once more.");

/**
 * A form that one of our own pages sent, or a refusal: 403 when it comes from elsewhere, 413 beyond 16 KiB, 415 when
 * it is something else. `csrf` is what the page carried.
 */
export async function readForm(request: IncomingMessage, publicUrl: string, csrf: string): Promise<Form> {
  checkOrigin(request, publicUrl);
  const type = request.headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase();
  if (type !== "application/x-www-form-urlencoded" || (request.headers["content-encoding"] ?? "identity") !== "identity")
    throw new PageRefusal(415, "Not a form", "Send application/x-www-form-urlencoded.");
  const fields = new URLSearchParams((await collect(request)).toString("utf8"));
  const form: Form = { get: (name) => fields.get(name) ?? "", all: (name) => fields.getAll(name) };
  for (const name of ["csrf", "do"]) if (fields.getAll(name).length > 1) throw expired();
  const given = Buffer.from(form.get("csrf"));
  const right = Buffer.from(csrf);
  if (given.length !== right.length || !timingSafeEqual(given, right)) throw expired();
  return form;
}

/** Browsers name the page that a form was on. Without it there is still the token in the form. */
function checkOrigin({ headers }: IncomingMessage, publicUrl: string): void {
  const { origin } = headers;
  const foreign = new PageRefusal(403, "Not from here", "This form was sent by another site.");
  const site = headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin" && site !== "none") throw foreign;
  const ours = new URL(publicUrl);
  if (origin === undefined || origin === ours.origin) return;
  // This machine has several names.
  const url = URL.parse(origin);
  const here = url?.protocol === ours.protocol && url.port === ours.port && isLoopback(url.hostname) && isLoopback(ours.hostname);
  if (!here) throw foreign;
}

function collect(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > largestForm) {
        request.removeAllListeners("data").pause();
        reject(new PageRefusal(413, "Too much", "That is more than these pages take."));
      } else chunks.push(chunk);
    });
    request.once("end", () => resolve(Buffer.concat(chunks)));
    request.once("error", reject);
    request.once("close", () => request.readableEnded || reject(new PageRefusal(400, "Incomplete", "The request ended early.")));
  });
}

/** Unforgeable, and of no use for anything but what it is for. `key`: 32 random bytes, the same in all processes of a broker. */
export function token(key: KeyObject, ...purpose: readonly string[]): string {
  return createHmac("sha256", key).update(JSON.stringify(purpose)).digest("base64url");
}

export function sendPage(response: ServerResponse, status: number, page: Page, headers: Readonly<Record<string, string>> = {}): void {
  const { text, headers: own } = document(page);
  response.writeHead(status, { ...own, "content-length": Buffer.byteLength(text), ...headers }).end(text);
}

/** After a form, so that the browser asks for what comes next and does not send the form again. */
export function seeOther(response: ServerResponse, location: string): void {
  response.writeHead(303, { location, "cache-control": "no-store", "referrer-policy": "no-referrer", "content-length": 0 }).end();
}

/** A cookie by its name. */
export function cookieOf(request: IncomingMessage, name: string): string | undefined {
  const pair = request.headers.cookie?.split(/;\s*/).find((one) => one.startsWith(`${name}=`));
  return pair?.slice(name.length + 1);
}
