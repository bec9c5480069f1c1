import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { Secret } from "../core/secret.ts";
import { CommandError } from "./exit.ts";

/** Where secrets are typed or piped in. Never an argument: those are in the shell's history and in every process list. */
export interface Terminal {
  readonly interactive: boolean;
  /** Asks without showing what is typed. On a terminal only. */
  ask(question: string): Promise<Secret>;
  askText(question: string): Promise<string>;
  /** All of stdin, without the newline at its end. Throws on more than 1 MiB. */
  readPiped(): Promise<Buffer>;
}

const largest = 1_048_576;

export function createTerminal(stdin: NodeJS.ReadStream, stderr: NodeJS.WriteStream): Terminal {
  /** Editing keys work as everywhere; what is typed goes to an output that leads nowhere. */
  async function ask(question: string): Promise<string> {
    stderr.write(`${question}: `);
    const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
    const line = createInterface({ input: stdin, output: nowhere, terminal: true, historySize: 0 });
    try {
      return await new Promise<string>((resolve, reject) => {
        const leave = (): void => reject(new CommandError("interrupted", "nothing was changed"));
        line.once("line", resolve).once("SIGINT", leave).once("close", leave);
      });
    } finally {
      line.close();
      stderr.write("\n");
    }
  }

  return {
    interactive: stdin.isTTY,
    ask: async (question) => Secret.of(await ask(question)),
    askText: ask,

    async readPiped() {
      const chunks: Buffer[] = [];
      let length = 0;
      for await (const chunk of stdin) {
        const bytes = Buffer.from(chunk as Uint8Array);
        length += bytes.length;
        if (length > largest) throw new CommandError("usage", "the input is longer than 1 MiB");
        chunks.push(bytes);
      }
      const whole = Buffer.concat(chunks);
      for (const chunk of chunks) chunk.fill(0);
      return whole.subarray(0, whole.length - newline(whole));
    },
  };
}

function newline(bytes: Buffer): number {
  if (bytes.at(-1) !== 0x0a) return 0;
  return bytes.at(-2) === 0x0d ? 2 : 1;
}
