import { once } from "node:events";
import type { Socket } from "node:net";
import { connect, createServer } from "node:net";

/** A stretch of network that can be cut: what is open breaks, and what is new is refused. */
export interface Proxy {
  readonly port: number;
  cut(): void;
  mend(): void;
  close(): Promise<void>;
}

export async function startProxy(target: number): Promise<Proxy> {
  const open = new Set<Socket>();
  let broken = false;
  const server = createServer((client) => {
    if (broken) {
      client.destroy();
      return;
    }
    const upstream = connect(target, "127.0.0.1");
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("close", () => open.delete(socket)).on("error", () => undefined);
    }
    client.pipe(upstream).pipe(client);
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const drop = (): void => {
    for (const socket of open) socket.destroy();
  };
  return {
    port: typeof address === "object" && address ? address.port : 0,
    cut() {
      broken = true;
      drop();
    },
    mend() {
      broken = false;
    },
    async close() {
      drop();
      server.close();
      await once(server, "close");
    },
  };
}
