import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { createProgram } from "../../src/cli/program.ts";
import type { Call } from "../../src/cli/program.ts";
import { configTables } from "../../src/compose.ts";
import type { Config } from "../../src/config/config.ts";
import { loadConfig } from "../../src/config/load.ts";
import { checkPolicies } from "../../src/policy/check.ts";
import { freePort, root } from "./documents.ts";

const clients = readdirSync(join(root, "examples/clients"));

describe("examples/clients", () => {
  const overHttp = (name: string): boolean => name.includes("-http.");

  it("has every client that the guide names, over stdio and, where it sends headers, over HTTP", () => {
    const named = readFileSync(join(root, "docs/how-to/connect-a-client.md"), "utf8").matchAll(/examples\/clients\/([\w.-]+)\)/g);
    expect(new Set([...named].map(([, name]) => name))).toEqual(new Set(clients));
  });

  it.each(clients.filter((name) => !overHttp(name)))("%s starts a command line that is accepted", (name) => {
    const { command, args } = serverOf(name);
    expect(command).toBe("leasehold");
    let call: Call | undefined;
    const program = createProgram((one) => (call = one));
    program.parse([...strings(args)], { from: "user" });
    expect(call?.row.name).toBe("mcp");
    expect(call?.options).toMatchObject({ agent: "reporter" });
    expect(program.opts()).toEqual({ config: "/path/to/leasehold.yaml" });
  });

  it.each(clients.filter(overHttp))("%s names the endpoint, and holds no token", (name) => {
    const text = readFileSync(join(root, "examples/clients", name), "utf8");
    const { url, httpUrl, headers, bearer_token_env_var: variable } = serverOf(name);
    expect(url ?? httpUrl).toBe("http://127.0.0.1:7420/mcp");
    const authorization = record(headers)["Authorization"] ?? `Bearer $${String(variable)}`;
    expect(authorization).toMatch(/^Bearer \$(?:\{(?:env:|input:)?[\w-]+\}|\w+)$/);
    expect(text).not.toMatch(/eyJ/);
  });
});

describe("examples/leasehold.yaml and deploy/leasehold.yaml", () => {
  it.each(["examples/leasehold.yaml", "deploy/leasehold.yaml"])("%s is a configuration", async (file) => {
    const config = await loadConfig(join(root, file), configTables);
    const checked = await checkPolicies(config.policy.directory);
    expect(checked).toMatchObject({ ok: true, problems: [], warnings: [] });
    expect(checked.policies).toBeGreaterThan(0);
    expect(unknownTo(config)).toEqual([]);
  });

  /** Roles and credentials that a policy names and the configuration does not have: it would never hold. */
  function unknownTo(config: Config): readonly string[] {
    const roles = new Set(config.agents.flatMap((agent) => agent.roles));
    const credentials = new Set<string>(config.credentials.map((entry) => entry.name));
    const texts = readdirSync(config.policy.directory).map((file) => readFileSync(join(config.policy.directory, file), "utf8"));
    return [...texts.join("\n").matchAll(/Leasehold::(Role|Credential)::"([^"]+)"/g)].flatMap(([, kind, name = ""]) =>
      (kind === "Role" ? roles : credentials).has(name) ? [] : [name],
    );
  }
});

describe("deploy/compose.yaml", () => {
  const compose = record(parse(readFileSync(join(root, "deploy/compose.yaml"), "utf8")));
  const services = record(compose["services"]);

  it.each(Object.keys(services))("%s can write to volumes only, and gains no privileges", (name) => {
    const service = record(services[name]);
    expect(service).toMatchObject({ read_only: true, cap_drop: ["ALL"], security_opt: ["no-new-privileges:true"] });
    expect(service["privileged"]).toBeUndefined();
  });

  it("only the proxy is reached from outside, and the broker trusts its address alone", async () => {
    const networks = record(compose["networks"]);
    const published = Object.keys(services).filter((name) => record(services[name])["ports"] !== undefined);
    expect(published).toEqual(["proxy"]);
    for (const network of ["front", "targets"]) expect(record(networks[network])["internal"]).toBe(true);
    const front = record(record(record(services["proxy"])["networks"])["front"]);
    const { server } = await loadConfig(join(root, "deploy/leasehold.yaml"), configTables);
    expect(server.trustedProxies).toEqual([front["ipv4_address"]]);
    expect(readFileSync(join(root, "deploy/Caddyfile"), "utf8")).toContain(`${server.publicUrl} {`);
  });

  it("mounts what exists, and takes secrets as files only", () => {
    const mounts = Object.values(services).flatMap((service) => strings(record(service)["volumes"]));
    const files = mounts.flatMap((mount) => (mount.startsWith("./") ? [mount.slice(0, mount.indexOf(":"))] : []));
    expect(files.filter((file) => !existsSync(join(root, "deploy", file)))).toEqual([]);
    expect(mounts.filter((mount) => mount.startsWith("./") && !mount.endsWith(":ro"))).toEqual([]);
    const environments = Object.values(services).flatMap((service) => Object.entries(record(record(service)["environment"])));
    expect(environments.filter(([name]) => /PASS|SECRET|TOKEN|KEY/i.test(name) && !name.endsWith("_FILE"))).toEqual([]);
    for (const secret of Object.values(record(compose["secrets"]))) expect(String(record(secret)["file"])).toMatch(/^\.\/secrets\//);
  });
});

describe("deploy/Dockerfile", () => {
  const lines = readFileSync(join(root, "deploy/Dockerfile"), "utf8").replaceAll("\\\n", " ").split("\n");
  const final = lines.slice(lines.findLastIndex((line) => line.startsWith("FROM ")));
  const last = (word: string): string | undefined => final.findLast((line) => line.startsWith(`${word} `))?.slice(word.length + 1);

  it("ends in an image that is not root, says how it is, and stops when it is asked to", () => {
    expect(last("USER")).toMatch(/^[1-9]\d+:[1-9]\d+$/);
    expect(last("HEALTHCHECK")).toContain("/healthz");
    expect(last("STOPSIGNAL")).toBe("SIGTERM");
    expect(last("VOLUME")).toBe("/var/lib/leasehold");
    expect(last("ENTRYPOINT")).toMatch(/^\["node"/);
  });

  it("copies by name into every layer, and the context holds nothing else", () => {
    const copies = lines.filter((line) => line.startsWith("COPY "));
    expect(lines.filter((line) => line.startsWith("ADD ") || /^COPY (?:\S+ )?\. /.test(line))).toEqual([]);
    const ignore = readFileSync(join(root, ".dockerignore"), "utf8").split("\n");
    const context = ignore.flatMap((line) => (line.startsWith("!") ? [line.slice(1)] : []));
    expect(ignore).toContain("*");
    const taken = copies.flatMap((line) => (line.includes("--from=") ? [] : line.split(/\s+/).slice(1, -1)));
    expect(new Set(taken)).toEqual(new Set(context));
    for (const path of taken) expect(existsSync(join(root, path)), path).toBe(true);
    expect(lines.filter((line) => /^(?:ARG|ENV) .*(?:PASS|SECRET|TOKEN|KEY)/i.test(line))).toEqual([]);
  });
});

describe("what the image is built from", () => {
  let app: string;
  let work: string;

  beforeAll(async () => {
    app = mkdtempSync(join(tmpdir(), "leasehold-app-"));
    work = mkdtempSync(join(tmpdir(), "leasehold-data-"));
    for (const path of ["package.json", "tsconfig.json", "tsconfig.build.json", "bin", "src", "testing"])
      cpSync(join(root, path), join(app, path), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(app, "node_modules"));
    const built = await run(join(root, "node_modules/.bin/tsc"), ["-p", "tsconfig.build.json"], app);
    if (built.code !== 0) throw new Error(built.output);
    // The final stage has the compiled code only.
    for (const path of ["src", "testing", "tsconfig.json", "tsconfig.build.json"]) rmSync(join(app, path), { recursive: true });
  }, 120_000);
  afterAll(() => {
    for (const folder of [app, work]) rmSync(folder, { recursive: true, force: true });
  });

  const leasehold = (...words: readonly string[]) => run(process.execPath, [join(app, "bin/leasehold.js"), ...words], work);

  it("says its help and its version", async () => {
    expect((await leasehold("--help")).output).toContain("Usage: leasehold [options] [command]");
    const { version }: { version?: string } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    expect((await leasehold("--version")).output.trim()).toBe(version);
  });

  it("serves with the configuration that compose mounts, on a fresh volume, until it is stopped", async () => {
    const port = await freePort();
    writeFileSync(join(work, "passphrase"), "correct horse battery staple\n", { mode: 0o600 });
    cpSync(join(root, "deploy/policies"), join(work, "policies"), { recursive: true });
    const mounted = readFileSync(join(root, "deploy/leasehold.yaml"), "utf8");
    const here = mounted
      .replace("0.0.0.0:7420", `127.0.0.1:${port}`)
      .replace("/var/lib/leasehold", work)
      .replace("/run/secrets/seal_passphrase", join(work, "passphrase"));
    writeFileSync(join(work, "leasehold.yaml"), here);
    expect(await leasehold("policy", "check")).toMatchObject({ code: 0, output: expect.stringContaining("sound") });

    const broker = spawn(process.execPath, [join(app, "bin/leasehold.js"), "serve", "--json"], {
      cwd: work,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const closed = once(broker, "close");
    let problem = "";
    broker.stderr.on("data", (chunk: Buffer) => (problem += chunk.toString()));
    try {
      await Promise.race([once(broker.stdout, "data"), closed.then(() => Promise.reject(new Error(problem)))]);
      expect((await run(process.execPath, ["-e", healthcheck(port)], work)).code).toBe(0);
      expect((await fetch(`http://127.0.0.1:${port}/mcp`, { method: "POST", body: "{}" })).status).toBe(401);
    } finally {
      broker.kill("SIGTERM");
    }
    expect((await closed)[0]).toBe(0);
    expect((await run(process.execPath, ["-e", healthcheck(port)], work)).code).toBe(1);
  });

  /** The script of the HEALTHCHECK line, for the port that we could get. */
  function healthcheck(port: number): string {
    const dockerfile = readFileSync(join(root, "deploy/Dockerfile"), "utf8");
    const command: unknown = JSON.parse(/HEALTHCHECK[\s\S]*?CMD (\[.*\])/.exec(dockerfile)?.[1] ?? "[]");
    return String(strings(command).at(-1)).replace("7420", String(port));
  }
});

async function run(
  command: string,
  words: readonly string[],
  cwd: string,
): Promise<{ readonly code: number | null; readonly output: string }> {
  const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}` };
  const child = spawn(command, words, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const [code]: (number | null)[] = await once(child, "close");
  return { code: code ?? null, output };
}

/** The entry for Leasehold, wherever the client keeps it. */
function serverOf(name: string): Readonly<Record<string, unknown>> {
  const text = readFileSync(join(root, "examples/clients", name), "utf8");
  const config = name.endsWith(".toml") ? parseToml(text) : record(JSON.parse(text));
  const servers = record(config["mcpServers"] ?? config["servers"] ?? config["mcp_servers"]);
  expect(Object.keys(servers)).toEqual(["leasehold"]);
  return record(servers["leasehold"]);
}

/** As much TOML as the examples use: tables, and values that are written as in JSON. Anything else throws. */
function parseToml(text: string): Readonly<Record<string, unknown>> {
  const whole: Record<string, Record<string, unknown>> = {};
  let table: Record<string, unknown> | undefined;
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const [, group, name] = /^\[(\w+)\.(\w+)\]$/.exec(line) ?? [];
    const [, key, value] = /^(\w+) = (.+)$/.exec(line) ?? [];
    if (group !== undefined && name !== undefined) {
      table = {};
      whole[group] = { ...whole[group], [name]: table };
    } else if (table && key !== undefined && value !== undefined) table[key] = JSON.parse(value);
    else throw new Error(`not understood: ${line}`);
  }
  return whole;
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value)) : {};
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
