import { spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

/** How long a program may take until it opens the browser, or ends. */
const patience = 30_000;

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where somebody works: a home of its own, and a browser that leaves every URL it is sent to lying there. */
export async function setUpDesk() {
  const home = await mkdtemp(join(tmpdir(), "leasehold-desk-"));
  const programs = join(home, "bin");
  const opened = join(home, "opened");
  await mkdir(programs);
  await writeFile(opened, "");
  const browser = join(programs, "xdg-open");
  await writeFile(browser, `#!/bin/sh\nprintf '%s\\n' "$1" >> '${opened}'\n`);
  await chmod(browser, 0o755);

  const urls = async (): Promise<readonly string[]> => (await readFile(opened, "utf8")).split("\n").filter((line) => line !== "");
  let seen = 0;

  const env: Readonly<Record<string, string>> = {
    HOME: home,
    XDG_CONFIG_HOME: join(home, "config"),
    PATH: `${programs}:${dirname(process.execPath)}:/usr/bin:/bin`,
    // Some come with an xdg-open of their own, which asks this.
    BROWSER: browser,
    MCP_AUTO_OPEN_ENABLED: "true",
    MCP_INSPECTOR_SECRET_STORE: "file",
  };

  return {
    env,

    /** The next URL that a program opens, unless `signal` says that none will come. */
    async opened(signal?: AbortSignal): Promise<string> {
      for (const until = Date.now() + patience; Date.now() < until; await pause(50)) {
        signal?.throwIfAborted();
        const url = (await urls())[seen];
        if (url === undefined) continue;
        seen += 1;
        return url;
      }
      throw new Error("nobody has opened the browser");
    },

    /** How many URLs were opened that nobody has looked at. */
    unseen: async (): Promise<number> => (await urls()).length - seen,

    /** Runs a Node program until it ends; `meanwhile` happens beside it. */
    async run(program: string, args: readonly string[], meanwhile?: () => Promise<unknown>): Promise<Ended> {
      const child = spawn(process.execPath, [program, ...args], { env, cwd: home, stdio: ["ignore", "pipe", "pipe"] });
      let [stdout, stderr] = ["", ""];
      child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
      child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
      const killer = setTimeout(() => child.kill("SIGKILL"), 2 * patience);
      const ended = new Promise<number | null>((resolve) => {
        child.once("close", resolve);
      });
      try {
        await meanwhile?.();
        return { code: await ended, stdout, stderr };
      } catch (cause) {
        throw new Error(`it went on to say:\n${stdout}\n${stderr}`, { cause });
      } finally {
        child.kill("SIGKILL");
        clearTimeout(killer);
      }
    },

    clear: (): Promise<void> => rm(home, { recursive: true, force: true }),
  };
}

export type Desk = Awaited<ReturnType<typeof setUpDesk>>;
