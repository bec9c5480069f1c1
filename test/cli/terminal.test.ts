import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { createTerminal } from "../../src/cli/terminal.ts";

function pretend() {
  const [stdin, stderr] = [new PassThrough(), new PassThrough()];
  let shown = "";
  stderr.on("data", (chunk: Buffer) => (shown += chunk.toString()));
  // What a terminal has and these streams have not is not used for asking.
  const terminal = createTerminal(stdin as unknown as NodeJS.ReadStream, stderr as unknown as NodeJS.WriteStream);
  return { stdin, terminal, shown: () => shown };
}

describe("asking for a secret", () => {
  it("EX-07: shows the question and nothing of what is typed, corrections included", async () => {
    const { stdin, terminal, shown } = pretend();
    const answer = terminal.askText("Password of billing-db/admin");
    stdin.write("hunx\x7fter2\r");
    expect(await answer).toBe("hunter2");
    expect(shown()).toBe("Password of billing-db/admin: \n");
  });

  it("asks again and again, and Ctrl-C leaves without an answer", async () => {
    const { stdin, terminal, shown } = pretend();
    const first = terminal.askText("First");
    stdin.write("one\r");
    expect(await first).toBe("one");
    const second = terminal.askText("Second");
    stdin.write("tw\x03");
    await expect(second).rejects.toMatchObject({ exit: "interrupted" });
    expect(shown()).not.toMatch(/one|tw/);
  });
});
