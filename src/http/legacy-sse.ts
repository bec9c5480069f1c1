import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { Admitted } from "./bearer.ts";
import { Refusal } from "./refusal.ts";
import { always } from "./send.ts";
import type { Streams, Watched } from "./streams.ts";

/** The other side of a stream: MCP, as `src/mcp/endpoint.ts` opens it. */
interface Conversation<Caller> {
  /** False: no JSON-RPC message. */
  receive(message: unknown, caller: Caller): boolean;
  close(): Promise<void>;
}

export type Converse<Caller> = (
  caller: Caller,
  channel: { readonly send: (text: string) => void; readonly ended: () => void },
) => Promise<Conversation<Caller>>;

export interface LegacySseParts<Caller> {
  readonly converse: Converse<Caller>;
  /** Whether a message comes from whoever opened the stream, whatever token it came with. */
  readonly isSame: (opener: Caller, sender: Caller) => boolean;
  readonly streams: Streams<Caller>;
  readonly publicUrl: string;
  /** Milliseconds without a message after which a stream is ended. */
  readonly idle?: number;
  /** Milliseconds between signs of life, so that no proxy in between gives up. */
  readonly heartbeat?: number;
}

/**
 * The HTTP+SSE transport of revision 2024-11-05: answers come on a stream, messages by POST. Both are authenticated alike. The session id
 * says which stream is meant and never who sends: with anyone else's token it does not exist.
 */
export interface LegacySse<Caller> {
  open(response: ServerResponse, admitted: Admitted<Caller>): Promise<void>;
  receive(target: string, response: ServerResponse, admitted: Admitted<Caller>, body: unknown): void;
}

export const streamPath = "/sse";
export const messagesPath = "/messages";

/** Bytes that may wait for a client that does not read. */
const unread = 4 << 20;

interface Session<Caller> {
  readonly opener: Caller;
  readonly conversation: Conversation<Caller>;
  readonly watched: Watched | undefined;
  readonly idle: NodeJS.Timeout;
}

export function createLegacySse<Caller>(parts: LegacySseParts<Caller>): LegacySse<Caller> {
  const { converse, isSame, streams, idle = 30 * 60_000, heartbeat = 25_000 } = parts;
  const prefix = new URL(parts.publicUrl).pathname.replace(/\/$/, "");
  const sessions = new Map<string, Session<Caller>>();

  async function open(response: ServerResponse, { caller, right }: Admitted<Caller>): Promise<void> {
    const end = (): void => void response.destroy();
    const leave = streams.seat(caller, end);
    const send = (event: string, data: string): void => {
      if (response.destroyed) return;
      response.write(`event: ${event}\ndata: ${data}\n\n`);
      if (response.writableLength > unread) end();
    };
    response.once("close", leave);
    const conversation = await converse(caller, { send: (text) => send("message", text), ended: end });
    const id = randomBytes(16).toString("base64url");
    const session: Session<Caller> = {
      opener: caller,
      conversation,
      watched: right && streams.watch(right, end),
      idle: setTimeout(end, idle).unref(),
    };
    const beat = setInterval(() => response.write(": still here\n\n"), heartbeat).unref();
    const close = (): void => {
      sessions.delete(id);
      session.watched?.forget();
      clearTimeout(session.idle);
      clearInterval(beat);
      conversation.close().catch(() => undefined);
    };
    // It may have hung up while the conversation was being opened.
    if (response.destroyed) return close();
    response.once("close", close);
    sessions.set(id, session);
    response.writeHead(200, {
      ...always,
      "cache-control": "no-store, no-transform",
      "content-type": "text/event-stream",
      "x-accel-buffering": "no",
    });
    send("endpoint", `${prefix}${messagesPath}?sessionId=${id}`);
  }

  return {
    open,

    receive(target, response, { caller, right }, body) {
      const id = new URLSearchParams(target.split("?", 2)[1] ?? "").get("sessionId");
      const session = id === null ? undefined : sessions.get(id);
      if (!session || !isSame(session.opener, caller)) throw new Refusal(404, "not_found", "No such session.");
      if (!session.conversation.receive(body, caller)) throw new Refusal(400, "invalid_request", "Send one JSON-RPC message.");
      session.idle.refresh();
      // The token that the stream was opened with runs out first; the sign-in that both belong to goes on.
      if (right) session.watched?.renew(right);
      response.writeHead(202, { ...always, "content-length": 0 }).end();
    },
  };
}
