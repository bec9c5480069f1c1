import type { Server } from "node:net";
import { SetupError } from "../core/setup-error.ts";

export interface Listening {
  /** Where this process itself listens, e.g. `http://127.0.0.1:7420`. */
  readonly url: string;
  readonly port: number;
}

interface Address {
  readonly host: string;
  readonly port: number;
  readonly scheme?: "http" | "https";
}

/** Starts listening, or throws what the operator has to put right, with the address in it. */
export function listenOn(server: Server, { host, port, scheme = "http" }: Address): Promise<Listening> {
  const named = host.includes(":") ? `[${host}]` : host;
  return new Promise((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException) => reject(problem(cause, `${named}:${port}`));
    server.once("error", failed);
    server.listen(port, host, () => {
      server.off("error", failed);
      const address = server.address();
      const actual = typeof address === "object" && address !== null ? address.port : port;
      resolve({ url: `${scheme}://${named}:${actual}`, port: actual });
    });
  });
}

const problems: Readonly<Record<string, { readonly what: string; readonly fix: string }>> = {
  EADDRINUSE: { what: "is already in use", fix: "Stop what listens there, or change server.listen." },
  EACCES: { what: "may not be listened on", fix: "Take a port above 1023 in server.listen." },
  EADDRNOTAVAIL: { what: "is no address of this machine", fix: "Correct server.listen." },
  ENOTFOUND: { what: "is no address of this machine", fix: "Correct server.listen." },
};

function problem(cause: NodeJS.ErrnoException, address: string): SetupError {
  const known = problems[cause.code ?? ""] ?? { what: "cannot be listened on", fix: "Correct server.listen." };
  return new SetupError({ what: `${address} ${known.what}`, fix: known.fix, cause });
}
