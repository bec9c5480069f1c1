import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { configTables } from "../../src/compose.ts";
import type { Config } from "../../src/config/config.ts";
import { loadConfig } from "../../src/config/load.ts";
import { readRules } from "../../src/oauth/federation-rules.ts";
import { checkPolicies } from "../../src/policy/check.ts";
import type { Database } from "../../src/demo/database.ts";
import { startDatabase } from "../../src/demo/database.ts";
import { root } from "./documents.ts";
import { examples as folder, published, serveExample } from "./federation-broker.ts";
import type { MockIssuer } from "./federation-issuer.ts";
import { startIssuer } from "./federation-issuer.ts";

let config: Config;
/** One for each platform of the example, by what its issuer is called there. */
let platforms: ReadonlyMap<string, MockIssuer>;
let database: Database;
let broker: Awaited<ReturnType<typeof serveExample>>;
/** Where a job runs: the files of the example in `ci/`, and nothing else. */
let work: string;

const github = "https://token.actions.githubusercontent.com";
const gitlab = "https://gitlab.com";
const kubernetes = "https://kubernetes.default.svc.cluster.local";
const spire = "https://oidc.spire.example.com";

beforeAll(async () => {
  config = await loadConfig(join(folder, "leasehold.yaml"), configTables);
  const issuers = [...new Set(config.oauth.federation.map(({ issuer }) => issuer))];
  platforms = new Map(await Promise.all(issuers.map(async (issuer) => [issuer, await startIssuer()] as const)));
  database = await startDatabase();
  const client = await database.connect();
  await client.query(
    "CREATE TABLE invoices AS SELECT generate_series(1, 42) AS id; CREATE ROLE billing_readonly; GRANT SELECT ON invoices TO billing_readonly",
  );
  await client.end();
  broker = await serveExample(platforms, database);
});
afterAll(async () => {
  await broker.close();
  await database.stop();
  for (const platform of platforms.values()) await platform.close();
});

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), "leasehold-ci-"));
  cpSync(folder, join(work, "ci"), { recursive: true });
  writeFileSync(join(work, "cluster-jwks.json"), JSON.stringify(platformOf(kubernetes).jwks()));
});
afterEach(() => rmSync(work, { recursive: true }));

function platformOf(issuer: string): MockIssuer {
  const platform = platforms.get(issuer);
  if (!platform) throw new Error(`no rule about ${issuer}`);
  return platform;
}

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a script of an example as its platform does, but for where the broker is. */
async function run(script: string, env: Readonly<Record<string, string>> = {}, shell: readonly string[] = ["sh", "-e"]): Promise<Ran> {
  const [command = "sh", ...flags] = shell;
  const here = script.replaceAll(published, broker.url);
  const child = spawn(command, [...flags, "-c", here], {
    cwd: work,
    env: { PATH: process.env["PATH"] ?? "", HOME: work, LEASEHOLD_URL: broker.url, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, "close")) as [number];
  return { code, out, err };
}

function tokenFile(token: string): string {
  const file = join(work, "token");
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  return file;
}

const record = (value: unknown): Record<string, unknown> => value as Record<string, unknown>;
const list = (value: unknown): readonly Record<string, unknown>[] => value as Record<string, unknown>[];
const load = (name: string): Record<string, unknown> => record(parse(readFileSync(join(folder, name), "utf8")));

describe("examples/ci/leasehold.yaml", () => {
  it("is a configuration whose rules are sound, and whose policies are", async () => {
    expect(readRules(config.oauth.federation, config.server.publicUrl)).toHaveLength(config.oauth.federation.length);
    expect(config.server.publicUrl).toBe(published);
    expect(await checkPolicies(config.policy.directory)).toMatchObject({ ok: true, problems: [], warnings: [] });
    const roles = config.oauth.federation.flatMap((rule) => rule.roles);
    const policies = readFileSync(join(folder, "policies/ci.cedar"), "utf8");
    for (const role of roles) expect(policies).toContain(`Leasehold::Role::"${role}"`);
    for (const { name } of config.credentials) expect(policies).toContain(`Leasehold::Credential::"${name}"`);
  });

  it("no file of the example holds a secret, or switches a check off", () => {
    for (const name of readdirSync(folder).filter((one) => one.includes("."))) {
      const text = readFileSync(join(folder, name), "utf8");
      expect(text, name).not.toMatch(/eyJ|--insecure|-k\b|secrets\./);
    }
  });
});

describe("examples/ci/github-actions.yml", () => {
  const workflow = load("github-actions.yml");
  const job = record(record(workflow["jobs"])["report"]);
  const scripts = list(job["steps"]).flatMap(({ run: script }) => (typeof script === "string" ? [script] : []));
  const main = { repository: "acme/reports", ref: "refs/heads/main", sub: "repo:acme/reports:ref:refs/heads/main" };

  async function runJob(claims: Record<string, string>): Promise<Ran> {
    const { runner } = platformOf(github);
    runner.claims = claims;
    const env = { ACTIONS_ID_TOKEN_REQUEST_URL: runner.url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: runner.secret };
    let last: Ran = { code: 0, out: "", err: "" };
    for (const script of scripts) {
      last = await run(script, env, ["bash", "--noprofile", "--norc", "-eo", "pipefail"]);
      if (last.code !== 0) return last;
    }
    return last;
  }

  it("asks for what it needs and no more", () => {
    expect(workflow["permissions"]).toEqual({ contents: "read", "id-token": "write" });
    expect(workflow["env"]).toEqual({ LEASEHOLD_URL: published });
  });

  it("queries the database as the agent of its repository", async () => {
    const { code, out, err } = await runJob(main);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out.split("\n").slice(1).join("\n")).toContain('"42"');
    // The token is in the log as an order to hide it, and nowhere else.
    expect(out).toMatch(/^::add-mask::eyJ[\w.-]+\n/);
    expect(out.slice(out.indexOf("\n"))).not.toContain("eyJ");
    expect((await broker.events("token.minted")).at(-1)).toMatchObject({ agent: "github-reports", evidence: { subject: main.sub } });
  });

  it.each([{ ref: "refs/heads/feature" }, { repository: "evil/reports" }])("gets nothing with %j, and says so", async (claims) => {
    const { code, out, err } = await runJob({ ...main, ...claims });
    expect(code).not.toBe(0);
    expect(err).toContain("Leasehold refused: invalid_grant: The token that was brought is not accepted.");
    expect(out).not.toContain("42");
  });
});

describe("examples/ci/gitlab-ci.yml", () => {
  const job = record(load("gitlab-ci.yml")["report"]);
  const variable = record(record(job["id_tokens"])["PLATFORM_TOKEN"]);
  const script = (job["script"] as readonly string[]).join("\n");
  const claims = { project_path: "acme/reports", ref_protected: "true", sub: "project_path:acme/reports:ref_type:branch:ref:main" };

  it("queries the database as an agent of its own for each project", async () => {
    expect(variable["aud"]).toBe(published);
    const token = await platformOf(gitlab).mint({ ...claims, aud: broker.url });
    expect(await run(script, { PLATFORM_TOKEN: token })).toMatchObject({
      code: 0,
      err: "",
      out: expect.stringContaining('"42"') as string,
    });
    expect((await broker.events("agent.added")).map(({ agent }) => agent)).toContainEqual(
      expect.stringMatching(/^gitlab-acme-reports-[0-9a-v]{12}$/),
    );
  });

  it("gets nothing on a branch that is not protected", async () => {
    const token = await platformOf(gitlab).mint({ ...claims, ref_protected: "false", aud: broker.url });
    expect((await run(script, { PLATFORM_TOKEN: token })).code).not.toBe(0);
  });
});

describe("examples/ci/kubernetes-job.yaml", () => {
  const documents = parseAllDocuments(readFileSync(join(folder, "kubernetes-job.yaml"), "utf8")).map((one) => record(one.toJS()));
  const pod = record(record(record(documents.find(({ kind }) => kind === "Job"))["spec"])["template"]);
  const spec = record(pod["spec"]);
  const container = list(spec["containers"])[0] ?? {};
  const volumes = list(spec["volumes"]);

  it("projects a token for the broker and for nobody else, into the file that the script reads", () => {
    const projected = record(volumes.find(({ projected: one }) => one)?.["projected"]);
    const [source] = list(projected["sources"]);
    expect(source).toEqual({ serviceAccountToken: { path: "token", audience: published, expirationSeconds: 600 } });
    expect(spec["automountServiceAccountToken"]).toBe(false);
    const mounts = new Map(list(container["volumeMounts"]).map(({ name, mountPath }) => [name, mountPath]));
    expect(new Set(mounts.keys())).toEqual(new Set(volumes.map(({ name }) => name)));
    expect(String((container["args"] as string[])[0])).toContain(`${String(mounts.get("token"))}/token`);
  });

  it("queries the database as the agent of its service account, by keys from a file", async () => {
    const [text = ""] = container["args"] as string[];
    const platform = platformOf(kubernetes);
    const token = (name: string) =>
      platform.mint({
        aud: [broker.url],
        sub: `system:serviceaccount:reports:${name}`,
        "kubernetes.io": { namespace: "reports", serviceaccount: { name, uid: "6f1c" }, pod: { name: "weekly-report-x7k2p" } },
      });
    const script = text.replaceAll("/var/run/secrets/leasehold", work).replaceAll("/leasehold/", "ci/");
    tokenFile(await token("weekly-report"));
    expect(await run(script)).toMatchObject({ code: 0, err: "", out: expect.stringContaining('"42"') as string });
    expect((await broker.events("token.minted")).at(-1)).toMatchObject({ agent: "k8s-weekly-report" });
    expect(platform.asked).toEqual([]);
    tokenFile(await token("default"));
    expect((await run(script)).code).not.toBe(0);
  });
});

describe("examples/ci/spiffe-job.sh", () => {
  it("queries the database as the agent of its SPIFFE id", async () => {
    const helper = readFileSync(join(folder, "spiffe-helper.conf"), "utf8");
    expect(helper).toContain(`jwt_audience = "${published}"`);
    const platform = platformOf(spire);
    const bring = async (sub: string) =>
      run("sh ci/spiffe-job.sh", { SVID_FILE: tokenFile(await platform.mint({ sub, aud: [broker.url] })) });
    expect(await bring("spiffe://acme.example/ns/reports/sa/weekly")).toMatchObject({
      code: 0,
      err: "",
      out: expect.stringContaining('"42"') as string,
    });
    expect((await bring("spiffe://acme.example/ns/other/sa/weekly")).code).not.toBe(0);
    expect((await broker.events("token.minted")).at(-1)).toMatchObject({ agent: "spiffe-reports" });
  });
});

describe("examples/ci/exchange.sh and call.sh", () => {
  it("say what is missing, and what went wrong", async () => {
    expect(await run("sh ci/exchange.sh token", { LEASEHOLD_URL: "" })).toMatchObject({
      err: expect.stringContaining("public URL of the broker") as string,
    });
    expect(await run("sh ci/call.sh whoami", { LEASEHOLD_TOKEN: "" })).toMatchObject({
      err: expect.stringContaining("comes from exchange.sh") as string,
    });
    const denied = await run("sh ci/call.sh whoami", { LEASEHOLD_TOKEN: "nonsense" });
    expect(denied.code).toBe(1);
    expect(denied.err).not.toBe("");
    expect((await run("sh ci/exchange.sh nowhere")).code).not.toBe(0);
  });

  it("EX-07 show no token in a command line", async () => {
    // A curl that says how it was called, before the real one.
    mkdirSync(join(work, "bin"));
    const real = (await run("command -v curl")).out.trim();
    writeFileSync(join(work, "bin/curl"), `#!/bin/sh\nprintf '%s\\n' "$*" >> "${join(work, "called")}"\nexec ${real} "$@"\n`);
    chmodSync(join(work, "bin/curl"), 0o755);
    const token = await platformOf(spire).mint({ sub: "spiffe://acme.example/ns/reports/sa/weekly", aud: broker.url });
    const env = { SVID_FILE: tokenFile(token), PATH: `${join(work, "bin")}:${process.env["PATH"] ?? ""}` };
    expect(await run("sh ci/spiffe-job.sh", env)).toMatchObject({ code: 0 });
    const called = readFileSync(join(work, "called"), "utf8");
    expect(called).toContain("/oauth/token");
    expect(called).toContain("/mcp");
    expect(called).not.toContain("eyJ");
  });
});

/** Fenced blocks of a page, also those within a list. */
function blocksOf(page: string, language: string): readonly string[] {
  const text = readFileSync(join(root, page), "utf8");
  return [...text.matchAll(/^( *)```(\w+)\n([^]*?)^\1```$/gm)].flatMap(([, indent = "", kind, block = ""]) =>
    kind === language ? [block.replaceAll(new RegExp(`^${indent}`, "gm"), "")] : [],
  );
}

describe.each(["docs/how-to/onboard-a-ci-job.md", "docs/how-to/onboard-a-kubernetes-workload.md"])("%s", (page) => {
  it("runs: every command that needs no platform of its own", async () => {
    const platform = platformOf(page.includes("kubernetes") ? kubernetes : spire);
    const claims = page.includes("kubernetes")
      ? {
          sub: "system:serviceaccount:reports:weekly-report",
          "kubernetes.io": { namespace: "reports", serviceaccount: { name: "weekly-report" } },
        }
      : { sub: "spiffe://acme.example/ns/reports/sa/weekly" };
    tokenFile(await platform.mint({ ...claims, aud: broker.url }));
    const blocks = blocksOf(page, "sh");
    expect(blocks.length).toBeGreaterThan(0);
    const bin = join(work, "bin");
    mkdirSync(bin);
    // The program of this folder, under its name.
    writeFileSync(join(bin, "leasehold"), `#!/bin/sh\nexec "${process.execPath}" "${join(root, "src/main.ts")}" "$@"\n`);
    // A cluster that answers the one question that the page asks it.
    writeFileSync(
      join(bin, "kubectl"),
      `#!/bin/sh\n[ "$*" = "get --raw /openid/v1/jwks" ] && exec cat "${join(work, "cluster-jwks.json")}"\nexit 1\n`,
    );
    for (const name of ["leasehold", "kubectl"]) chmodSync(join(bin, name), 0o755);
    cpSync(join(work, "ci"), work, { recursive: true });
    const env = { PATH: `${bin}:${process.env["PATH"] ?? ""}` };
    // The store of a broker that has run before.
    expect(await run("leasehold init", env)).toMatchObject({ code: 0 });
    const script = blocks.join("\n");
    const { code, out, err } = await run(script, env);
    expect({ code, err: err.replaceAll("No entries match.\n", "") }).toEqual({ code: 0, err: "" });
    expect(out).toContain('"kind": "workload"');
    expect(existsSync(join(work, "token"))).toBe(true);
  });

  it("shows configuration that is one, in the words of the example", async () => {
    const yaml = blocksOf(page, "yaml").filter((text) => text.includes("federation:"));
    expect(yaml.length).toBeGreaterThan(0);
    for (const text of yaml) {
      writeFileSync(join(work, "page.yaml"), text);
      const { oauth } = await loadConfig(join(work, "page.yaml"), configTables);
      expect(readRules(oauth.federation, published).length).toBeGreaterThan(0);
    }
  });

  it("names files that exist", () => {
    const text = readFileSync(join(root, page), "utf8");
    const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, link = ""]) => join(root, "docs/how-to", link));
    expect(links.length).toBeGreaterThan(3);
    expect(links.filter((link) => !existsSync(link))).toEqual([]);
  });
});
