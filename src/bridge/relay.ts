import { setTimeout } from "node:timers/promises";
import { SetupError } from "../core/setup-error.ts";
import { readEvents } from "./events.ts";
import { readLines } from "./lines.ts";
import type { Answer, Id, Malformed, Message } from "./message.ts";
import { errorLine, readAnswer, readMessage } from "./message.ts";
import { BridgeProblem } from "./problem.ts";
import { problemOf } from "./status.ts";
import type { Upstream } from "./upstream.ts";
import { unlessAborted } from "./upstream.ts";
import { discard, readBytes } from "./web.ts";

export interface RelayParts {
  readonly upstream: Upstream;
  readonly input: AsyncIterable<Uint8Array>;
  /** Writes one line, and is done when there is room for the next. */
  readonly output: (line: string) => Promise<void>;
  readonly tell: (line: string) => void;
  /** Ends everything at once; the end of the input lets what runs finish first. */
  readonly signal: AbortSignal;
}

const longestLine = 4 * 1024 * 1024;
const longestAnswer = 16 * 1024 * 1024;
/** Requests that run at once. More wait on stdin. */
const widest = 256;
/** Milliseconds that running requests have when the client has closed its end, and that ending the session may take. */
const ending = { requests: 5_000, session: 2_000 };

/** MCP between the lines of a client and the HTTP of a broker, for every revision (Streamable HTTP), until the input ends. */
export async function relay(parts: RelayParts): Promise<void> {
  const { upstream, tell } = parts;
  const stopping = new AbortController();
  const stopped = AbortSignal.any([parts.signal, stopping.signal]);
  const running = new Set<Promise<void>>();
  const pending = new Map<string, AbortController>();
  let handshaken: Promise<unknown> = Promise.resolve();
  let session: string | undefined;
  let version: string | undefined;
  /** Whether the client shook hands, as it was done before 2026-07-28. */
  let shaken = false;
  let left = false;
  let listening: AbortController | undefined;
  let writing: Promise<void> = Promise.resolve();

  function write(line: string): Promise<void> {
    // Nobody reads any more: there is nobody to tell, either.
    writing = writing.then(() => parts.output(line)).catch(() => stopping.abort(gone()));
    return writing;
  }

  async function fail(requests: Iterable<Id>, problem: BridgeProblem): Promise<void> {
    const error = { code: -32000, message: problem.sentence, data: { reason: problem.reason } };
    for (const id of requests) await write(errorLine(id, error));
  }

  function headers(message?: Message): Record<string, string> {
    return {
      accept: "application/json, text/event-stream",
      ...(message ? { "content-type": "application/json" } : {}),
      ...(message?.handshake === "initialize" || message?.headers
        ? message.headers
        : {
            ...(version === undefined ? {} : { "mcp-protocol-version": version }),
            ...(session === undefined ? {} : { "mcp-session-id": session }),
          }),
    };
  }

  async function forward(answer: Answer, waiting: Set<Id>): Promise<void> {
    const [id, ...others] = waiting;
    // An error for nobody, as servers send it before they have read the id, is for the one who asked.
    if (answer.anonymous && id !== undefined && others.length === 0 && answer.error !== undefined) {
      waiting.delete(id);
      return write(errorLine(id, answer.error));
    }
    for (const one of answer.answers) waiting.delete(one);
    return write(answer.line);
  }

  async function deliver(message: Message, response: Response, waiting: Set<Id>): Promise<void> {
    const type = response.headers.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase();
    if (response.ok && type === "text/event-stream" && response.body) {
      for await (const { type: kind, data } of readEvents(response.body, longestAnswer)) {
        const answer = kind === "message" && data !== "" ? readAnswer(data) : undefined;
        if (answer) {
          if (message.handshake === "initialize") shakeHands(answer, response);
          await forward(answer, waiting);
        }
        if (waiting.size === 0) return;
      }
      throw lost();
    }
    if (waiting.size === 0 && response.ok) return discard(response);
    const answer = type === "application/json" ? readAnswer((await readBytes(response, longestAnswer)).toString()) : undefined;
    await discard(response);
    if (!answer || (!response.ok && answer.error === undefined)) throw problemOf(response);
    if (message.handshake === "initialize") shakeHands(answer, response);
    await forward(answer, waiting);
    if (waiting.size > 0) throw new BridgeProblem("unavailable", "the broker did not answer this request");
  }

  /** Revisions before 2026-07-28 agree on one for the whole connection. */
  function shakeHands({ result }: Answer, response: Response): void {
    if (!result) return;
    shaken = true;
    const agreed = result["protocolVersion"];
    version = typeof agreed === "string" && /^\d{4}-\d\d-\d\d$/.test(agreed) && agreed >= "2025-06-18" ? agreed : undefined;
    const named = response.headers.get("mcp-session-id");
    session = named !== null && /^[\x21-\x7e]{1,1024}$/.test(named) ? named : undefined;
  }

  async function perform(message: Message, before: Promise<unknown>): Promise<void> {
    const cancelled = new AbortController();
    const signal = AbortSignal.any([stopped, cancelled.signal]);
    const waiting = new Set(message.requests);
    for (const id of message.requests) pending.set(key(id), cancelled);
    try {
      // What comes after a handshake is only in order once the broker has that.
      await unlessAborted(before, signal);
      const response = await upstream.send({ method: "POST", headers: headers(message), body: message.body }, signal);
      await deliver(message, response, waiting).catch((thrown: unknown) => {
        throw thrown instanceof BridgeProblem || thrown instanceof RangeError ? thrown : lost(thrown);
      });
    } catch (thrown) {
      // Who gave up on a request wants no answer to it.
      if (cancelled.signal.aborted) return;
      const problem = asProblem(thrown, stopped.aborted);
      if (message.requests.length === 0 && !stopped.aborted) tell(problem.sentence);
      await fail(waiting, problem);
    } finally {
      for (const id of message.requests) if (pending.get(key(id)) === cancelled) pending.delete(key(id));
    }
  }

  function cancel(id: Id): void {
    pending.get(key(id))?.abort();
  }

  async function take(line: Message | Malformed): Promise<void> {
    if ("malformed" in line) {
      const { id, code, message } = line.malformed;
      return write(errorLine(id, { code, message }));
    }
    if (line.cancels !== undefined) {
      cancel(line.cancels);
      // Since 2026-07-28, closing the request is what cancels it.
      if (!shaken) return;
    }
    if (line.requests.some((id) => pending.has(key(id))))
      return fail(line.requests, new BridgeProblem("refused", "a request with this id is still running"));
    await perform(line, line.handshake === undefined ? handshaken : Promise.resolve());
    if (line.handshake === "initialized") listen();
  }

  function listen(): void {
    if (left) return;
    listening?.abort();
    listening = new AbortController();
    const signal = AbortSignal.any([stopped, listening.signal]);
    void track(follow(signal).catch(() => undefined));
  }

  /** What the broker says unasked, where it offers that. */
  async function follow(signal: AbortSignal): Promise<void> {
    let last: string | undefined;
    for (let wait = 1_000; !signal.aborted; wait = Math.min(wait * 2, 30_000)) {
      try {
        const response = await upstream.send(
          {
            method: "GET",
            headers: { ...headers(), accept: "text/event-stream", ...(last === undefined ? {} : { "last-event-id": last }) },
          },
          signal,
        );
        if (!response.ok || !response.body || response.headers.get("content-type")?.startsWith("text/event-stream") !== true) {
          await discard(response);
          // Not offered (405), or not to us. What may pass is tried again.
          if (response.status < 500 && response.status !== 429) return;
        } else
          for await (const { type, data, id } of readEvents(response.body, longestAnswer)) {
            wait = 1_000;
            last = id !== undefined && /^[\x20-\x7e]{1,1024}$/.test(id) ? id : undefined;
            const answer = type === "message" && data !== "" ? readAnswer(data) : undefined;
            if (answer) await write(answer.line);
          }
      } catch {
        // The next request says what is wrong, to somebody who asked.
      }
      await setTimeout(wait, undefined, { signal });
    }
  }

  function track(work: Promise<void>): Promise<void> {
    const done = work.finally(() => running.delete(done));
    running.add(done);
    return done;
  }

  for await (const line of readLines(parts.input, longestLine)) {
    const message = "text" in line ? readMessage(line.text) : unreadable(line.problem);
    const work = track(take(message));
    if ("handshake" in message && message.handshake !== undefined) handshaken = work;
    while (running.size > widest) await Promise.race(running);
  }
  left = true;
  listening?.abort();
  const finished = new AbortController();
  await Promise.race([
    Promise.all(running).finally(() => finished.abort()),
    setTimeout(ending.requests, undefined, { signal: AbortSignal.any([parts.signal, finished.signal]) }).catch(() => undefined),
  ]);
  stopping.abort(gone());
  await Promise.all(running);
  if (session !== undefined) await endSession();
  await writing;

  async function endSession(): Promise<void> {
    const signal = AbortSignal.timeout(ending.session);
    const response = await upstream.send({ method: "DELETE", headers: headers() }, signal).catch(() => undefined);
    if (response) await discard(response);
  }
}

function gone(): DOMException {
  return new DOMException("the client has left", "AbortError");
}

/** `1` and `"1"` are two ids. */
function key(id: Id): string {
  return JSON.stringify(id);
}

function unreadable(problem: "too long" | "not UTF-8"): Malformed {
  return { malformed: { id: null, code: -32700, message: `Parse error: a line is ${problem}.` } };
}

function asProblem(thrown: unknown, stopped: boolean): BridgeProblem {
  if (thrown instanceof BridgeProblem) return thrown;
  if (thrown instanceof SetupError) return new BridgeProblem("login", thrown.message.replace(/\.$/, ""), { cause: thrown });
  if (thrown instanceof RangeError) return new BridgeProblem("unavailable", "the broker's answer is too long", { cause: thrown });
  if (stopped) return new BridgeProblem("unavailable", "the bridge was ended before the broker answered", { cause: thrown });
  return new BridgeProblem("unavailable", "something went wrong inside the bridge", { cause: thrown });
}

function lost(cause?: unknown): BridgeProblem {
  return new BridgeProblem("unavailable", "the connection to the broker was lost before it answered", {
    fix: "What was asked for may have been done.",
    cause,
  });
}
