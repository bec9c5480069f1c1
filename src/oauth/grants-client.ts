import type { IncomingMessage } from "node:http";
import { parse } from "node:querystring";
import type { Step } from "./parts.ts";
import { workloadClient } from "../identity/access-token.ts";

/** As the provider has it for its own reading of a body. */
const largestBody = 56 * 1024;
const form = "application/x-www-form-urlencoded";

export interface WorkloadStepParts {
  /** Path of the token endpoint, as the context has it. */
  readonly path: string;
  /** Grant types that may come without a client. */
  readonly grants: readonly string[];
}

/**
 * Workloads register nothing and have no client id to send: a request of theirs that names no client is taken as the built-in
 * client's. All other requests pass as they came.
 */
export function createWorkloadStep({ path, grants }: WorkloadStepParts): Step {
  return async (context, next) => {
    const { req } = context;
    if (context.method !== "POST" || context.path !== path || !context.is(form) || req.headers.authorization !== undefined) return next();
    if (await rewrite(req, named)) return next();
    context.status = 413;
    context.set("connection", "close");
    context.body = { error: "invalid_request", error_description: `A token request is at most ${largestBody} bytes.` };
  };

  function named(text: string): string {
    const { grant_type: grant, client_id: client, client_assertion: assertion, client_secret: secret } = parse(text);
    const nameless = !client && !assertion && !secret && typeof grant === "string" && grants.includes(grant);
    return nameless ? `${text}&client_id=${workloadClient}` : text;
  }
}

/**
 * Reads the body, and puts another in its place, so that the provider reads the request as if nobody had. At once: a
 * stream that has told of its end takes nothing back. Answers `false` when it is too large.
 */
function rewrite(request: IncomingMessage, change: (text: string) => string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (outcome: boolean): void => {
      request.off("readable", read).off("error", reject).off("aborted", lost);
      resolve(outcome);
    };
    const lost = (): void => reject(new Error("the request ended early"));
    const read = (): void => {
      for (let chunk = take(request); chunk; chunk = take(request)) {
        chunks.push(chunk);
        size += chunk.length;
        if (size > largestBody) return settle(false);
      }
      if (!request.complete) return;
      // A form of nothing, where there is none: a stream that nothing is put back into has been read.
      const bytes = Buffer.from(change(Buffer.concat(chunks).toString("utf8")) || "&");
      request.headers["content-length"] = String(bytes.length);
      delete request.headers["transfer-encoding"];
      request.unshift(bytes);
      settle(true);
    };
    request.on("readable", read).once("error", reject).once("aborted", lost);
    read();
  });
}

function take(request: IncomingMessage): Buffer | undefined {
  const chunk: unknown = request.read();
  return Buffer.isBuffer(chunk) ? chunk : undefined;
}
