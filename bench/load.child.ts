import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { z } from "zod";
import { answerAsks } from "./ask.ts";

/**
 * Sends finished requests over kept connections, one at a time on each, and does as little as can be with
 * the answers: 10 to 15 µs a call, so that even the bare server is what limits a run.
 */
interface Connection {
  /** Sends the bytes; resolves with the whole answer. */
  call(request: Buffer): Promise<Buffer>;
  close(): void;
}

const opening = z.object({ port: z.number(), connections: z.number(), requests: z.array(z.string()).min(1) });
const running = z.object({ milliseconds: z.number(), most: z.number() });

const headersEnd = Buffer.from("\r\n\r\n");
const chunksEnd = Buffer.from("\r\n0\r\n\r\n");
const lengthHeader = /\r\ncontent-length: *(\d+)/i;

/** Whether these bytes are a whole answer. Only one answer is under way on a connection, so nothing follows it. */
function isWhole(bytes: Buffer): boolean {
  const end = bytes.indexOf(headersEnd);
  if (end < 0) return false;
  const length = lengthHeader.exec(bytes.toString("latin1", 0, end))?.[1];
  if (length !== undefined) return bytes.length >= end + headersEnd.length + Number(length);
  return bytes.subarray(-chunksEnd.length).equals(chunksEnd);
}

async function open(port: number): Promise<Connection> {
  const socket: Socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  let settle: { readonly resolve: (answer: Buffer) => void; readonly reject: (problem: Error) => void } | undefined;
  let got: Buffer | undefined;
  socket.on("data", (chunk: Buffer) => {
    got = got ? Buffer.concat([got, chunk]) : chunk;
    if (!isWhole(got)) return;
    const answer = got;
    got = undefined;
    settle?.resolve(answer);
  });
  socket.on("error", (problem) => settle?.reject(problem));
  socket.on("close", () => settle?.reject(new Error("the server closed the connection")));
  return {
    call: (request) =>
      new Promise((resolve, reject) => {
        settle = { resolve, reject };
        socket.write(request);
      }),
    close: () => socket.destroy(),
  };
}

let connections: readonly Connection[] = [];
let requests: readonly Buffer[] = [];
let next = 0;

function isGood(answer: Buffer): boolean {
  return answer.toString("latin1", 9, 12) === "200" && !answer.includes('"isError":true') && !answer.includes('"error":{"code"');
}

async function run({ milliseconds, most }: z.infer<typeof running>) {
  const latencies: number[] = [];
  let failed = 0;
  let failure: string | undefined;
  let sent = 0;
  const start = performance.now();

  async function worker(connection: Connection): Promise<void> {
    for (let begin = performance.now(); begin - start < milliseconds && sent < most;) {
      const request = requests[(next = (next + 1) % requests.length)];
      if (!request) return;
      sent += 1;
      const answer = await connection.call(request);
      const end = performance.now();
      latencies.push((end - begin) * 1000);
      begin = end;
      if (isGood(answer)) continue;
      failed += 1;
      failure ??= answer.toString("utf8");
    }
  }

  await Promise.all(connections.map(worker));
  return { milliseconds: performance.now() - start, latencies: Float64Array.from(latencies), failed, failure };
}

answerAsks({
  async open(input) {
    const setup = opening.parse(input);
    requests = setup.requests.map((text) => Buffer.from(text));
    connections = await Promise.all(Array.from({ length: setup.connections }, () => open(setup.port)));
  },
  run: (input) => run(running.parse(input)),
  close() {
    for (const connection of connections) connection.close();
    connections = [];
  },
});
