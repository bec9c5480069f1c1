import type { BridgeParts, How } from "../bridge/bridge.ts";
import type { Run } from "./command.ts";
import { CommandError } from "./exit.ts";

/** What a command line says about a broker elsewhere. The bridge is imported here and not the broker: starting it stays quick. */
export async function bridgeParts(run: Run): Promise<BridgeParts> {
  const { endpointOf } = await import("../bridge/address.ts");
  const { given } = run;
  const typed = given.text("server");
  if (typed === undefined)
    throw new CommandError("usage", "--server is missing: which broker?", "For example: --server https://leasehold.example.com");
  const server = endpointOf(typed);
  if (!server) {
    throw new CommandError(
      "usage",
      "--server: expected a URL like https://leasehold.example.com",
      "Plain http is for this machine only; name and password, query and fragment have no place in it.",
    );
  }
  return {
    server,
    how: howOf(run),
    // Commander turns `--no-browser` into an option that is on unless that was said.
    browser: given.has("browser"),
    // On stderr even under --json: without these lines nobody can sign in.
    tell: (line) => void process.stderr.write(`${line}\n`),
    env: run.env,
    now: run.now,
    signal: run.interrupted,
  };
}

function howOf({ given, env }: Run): How {
  const login = given.choice("login", ["browser", "device", "github", "workload"]);
  const key = given.text("key");
  const clientId = given.text("client-id");
  const workload = given.text("workload-token-file");
  const invitationFile = given.text("invitation-file");

  const ways = [key !== undefined && "--key", workload !== undefined && "--workload-token-file"].filter((way) => way !== false);
  if (ways.length === 2) throw new CommandError("usage", "say either --key or --workload-token-file");
  const [way] = ways;
  if (way !== undefined && login !== undefined && !(way === "--workload-token-file" && login === "workload"))
    throw new CommandError("usage", `${way} does not go with --login ${login}`);
  if (login === "workload" && workload === undefined)
    throw new CommandError("usage", "--workload-token-file is missing: where does the platform put the token?");

  const person = way === undefined && login !== "github";
  if (!person && invitationFile !== undefined) throw new CommandError("usage", "--invitation-file is for people who sign in");
  if (key !== undefined) {
    if (clientId === undefined) throw new CommandError("usage", "--client-id is missing: whose key is it?");
    return { by: "key", clientId, file: key };
  }
  if (!person && clientId !== undefined)
    throw new CommandError("usage", "--client-id does not go with a workload: the broker knows the platform");
  if (workload !== undefined) return { by: "workload", file: workload };
  if (login === "github") return { by: "github" };

  const invitation = invitationOf(invitationFile, env["LEASEHOLD_INVITATION"]);
  return {
    by: login === "device" ? "device" : "browser",
    ...(clientId === undefined ? {} : { clientId }),
    ...(invitation ? { invitation } : {}),
  };
}

/** Looked at only when there is something to register. */
function invitationOf(file: string | undefined, text: string | undefined): (() => Promise<string>) | undefined {
  if (file === undefined && text === undefined) return undefined;
  return async () => {
    const { readFile } = await import("node:fs/promises");
    const found = file === undefined ? text : await readFile(file, "utf8").catch(() => undefined);
    if (found !== undefined && /^[\x21-\x7e]{1,4096}$/.test(found.trim())) return found.trim();
    throw new CommandError("refused", `there is no invitation in ${file ?? "LEASEHOLD_INVITATION"}`, "Ask the broker's operator for one.");
  };
}

/** As `work` goes on, with its problems as those of a command. */
export async function bridged<T>(work: Promise<T>): Promise<T> {
  const { BridgeProblem } = await import("../bridge/problem.ts");
  try {
    return await work;
  } catch (thrown) {
    if (thrown instanceof BridgeProblem)
      throw new CommandError(thrown.reason === "unavailable" ? "unavailable" : "refused", thrown.message, thrown.fix);
    throw thrown;
  }
}

/** Signing in and out is for people: a machine proves itself whenever it needs a token. */
export async function personParts(run: Run): Promise<BridgeParts> {
  const parts = await bridgeParts(run);
  if (parts.how.by === "browser" || parts.how.by === "device") return parts;
  throw new CommandError("usage", "a key or a workload token needs no sign-in", "Give it to `leasehold mcp --server` as it is.");
}
