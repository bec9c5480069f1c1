import type { Socket } from "node:net";
import { connect } from "node:net";

/** Milliseconds. */
const patience = 2_000;

/**
 * Asks the server to stop what a session is doing (PostgreSQL manual, 54.2.9). Best effort by design of the
 * protocol: there is no answer. The message is not authenticated but by the session's own cancel key.
 */
export function cancelSession(session: unknown, host: string, port: number): void {
  const { processID, secretKey } = session as { readonly processID?: unknown; readonly secretKey?: unknown };
  if (typeof processID !== "number" || typeof secretKey !== "number") return;
  const message = Buffer.alloc(16);
  message.writeInt32BE(16, 0);
  message.writeInt32BE(80_877_102, 4);
  message.writeInt32BE(processID, 8);
  message.writeInt32BE(secretKey, 12);
  const socket: Socket = host.startsWith("/") ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
  socket.on("error", () => {});
  socket.setTimeout(patience, () => socket.destroy());
  socket.end(message);
  socket.unref();
}
