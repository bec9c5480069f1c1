import { describe, expect, test } from "vitest";
import type { Config } from "../../../src/config/config.ts";
import { loadConfig, parseConfig } from "../../../src/config/load.ts";
import { ConfigError } from "../../../src/config/problem.ts";
import { tables } from "./tables.ts";

function parse(text: string): Config {
  return parseConfig(text, "/etc/lh/leasehold.yaml", tables);
}

function problems(text: string): readonly string[] {
  try {
    parse(text);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({ line, path, message }) => `${line ?? ""}: ${path}: ${message}`);
  }
}

const smallest = "agents: {}\n";

describe("what is valid", () => {
  test("an almost empty file is the safe default: loopback, nothing to lend, nobody to ask", () => {
    expect(parse(smallest)).toEqual({
      server: { listen: { host: "127.0.0.1", port: 7420 }, publicUrl: "http://127.0.0.1:7420", trustedProxies: [] },
      store: { type: "sqlite", path: "/etc/lh/data/leasehold.db" },
      seal: { type: "file", path: "/etc/lh/data/master.key" },
      vaults: { local: { type: "embedded" } },
      credentials: [],
      agents: [],
      oauth: {
        accessTokenTtl: 600,
        refreshTokenTtl: 2_592_000,
        dpop: "optional",
        keyRotation: 2_592_000,
        requestsPerMinute: 600,
        registration: {
          open: true,
          metadataDocuments: true,
          softwareStatements: [],
          perHour: 60,
          clients: 1_000,
          unusedFor: 86_400,
          idleFor: 7_776_000,
        },
        people: { sessionFor: 28_800 },
        federation: [],
        enterprise: [],
      },
      policy: { directory: "/etc/lh/policies" },
      audit: { sinks: [], checkpointEvery: 60 },
      limits: { leasesPerAgent: 50, callsPerMinute: 600, bodyBytes: 1_048_576 },
    });
  });

  test("a credential is split into what all have and what its engine understands", () => {
    const { credentials } = parse(`credentials:
  db/ro: { engine: mint, host: db, admin: { vault: local, secret: db/admin }, ttl: { max: 1h }, labels: { env: prod } }
`);
    expect(credentials).toEqual([
      {
        name: "db/ro",
        engine: "mint",
        description: "",
        labels: { env: "prod" },
        ttl: { default: 300, max: 3600 },
        maxLeases: 100,
        spec: { host: "db", port: 5432, admin: { vault: "local", secret: "db/admin" }, grants: [] },
      },
    ]);
  });

  test("paths are relative to the file, wherever they stand", () => {
    const config = parse(`store: sqlite:state/lh.db
seal: { type: passphrase, from: { file: pass.txt } }
vaults: { far: { type: remote, url: "https://v", token: { file: token } } }
credentials: { a: { engine: rest, secret: { env: X }, ca: ca.pem } }
policy: { directory: ../policies }
audit: { sinks: [{ type: file, path: /var/log/audit.jsonl }] }
server: { tls: { certificate: tls/cert.pem, key: tls/key.pem, clientCa: /etc/ca.pem } }
agents: { a: { jwks: a.json } }
oauth:
  federation: [{ issuer: "https://ci.example", jwks: ci.json, claims: { repository: acme/shop }, agent: a }]
  enterprise: [{ issuer: "https://idp.example", jwks: idp.json }]
  registration: { softwareStatements: [{ issuer: "https://vendor.example", jwks: vendor.json }] }
  people: { openid: { issuer: "https://idp.example", clientId: lh, clientSecret: { file: secret } } }
`);
    expect(config.server.tls).toEqual({ certificate: "/etc/lh/tls/cert.pem", key: "/etc/lh/tls/key.pem", clientCa: "/etc/ca.pem" });
    expect(config.agents[0]?.jwks).toBe("/etc/lh/a.json");
    expect(config.oauth.federation[0]?.jwks).toBe("/etc/lh/ci.json");
    expect(config.oauth.enterprise[0]?.jwks).toBe("/etc/lh/idp.json");
    expect(config.oauth.registration.softwareStatements[0]?.jwks).toBe("/etc/lh/vendor.json");
    expect(config.oauth.people.openid?.clientSecret).toEqual({ file: "/etc/lh/secret" });
    expect(config.store.path).toBe("/etc/lh/state/lh.db");
    expect(config.seal).toEqual({ type: "passphrase", from: { file: "/etc/lh/pass.txt" } });
    expect(config.vaults["far"]).toEqual({ type: "remote", url: "https://v", token: { file: "/etc/lh/token" } });
    expect(config.credentials[0]?.spec["ca"]).toBe("/etc/lh/ca.pem");
    expect(config.policy.directory).toBe("/etc/policies");
    expect(config.audit.sinks[0]?.["path"]).toBe("/var/log/audit.jsonl");
  });

  test("an address of other machines needs a trusted proxy and an https URL", () => {
    const open = "server: { listen: '0.0.0.0:7420', trustedProxies: [10.0.0.0/8], publicUrl: 'https://lh.example.com/' }\n";
    expect(parse(open).server).toEqual({
      listen: { host: "0.0.0.0", port: 7420 },
      publicUrl: "https://lh.example.com",
      trustedProxies: ["10.0.0.0/8"],
    });
  });
});

describe("a broken configuration never starts with less protection", () => {
  test.each([
    ["server: { listen: '0.0.0.0:7420', publicUrl: 'https://x.example' }", "other machines could reach this without TLS"],
    ["server: { listen: '[::]:7420', publicUrl: 'https://x.example' }", "other machines could reach this without TLS"],
    ["server: { listen: 'broker.internal:7420', publicUrl: 'https://x.example' }", "other machines could reach this without TLS"],
    ["server: { listen: '0.0.0.0:7420', trustedProxies: [10.0.0.0/8] }", "set publicUrl"],
    ["server: { publicUrl: 'http://lh.example.com' }", "expected https"],
    ["server: { publicUrl: 'https://user:hunter2@lh.example.com' }", "without login"],
    ["server: { trustedProxies: [0.0.0.0/0] }", "expected an address or a network"],
    ["server: { tls: { cert: a, key: b } }", "server.tls.cert: unknown key; known here: certificate, key, clientCa"],
    ["oauth: { accessTokenTtl: 2h }", "oauth.accessTokenTtl: expected at most 1h"],
    ["oauth: { federation: [{ issuer: 'ftp://x', claims: {}, agent: a }] }", "oauth.federation[0].issuer: expected the issuer's URL"],
    ["agents: { a: { certificate: short } }", "agents.a.certificate: expected the SHA-256 thumbprint"],
    ["server: { listen: 127.0.0.1 }", "expected an address like"],
    ["server: { listen: '127.0.0.1:99999' }", "expected an address like"],
    ["store: postgres://u:hunter2@h/db", "comes with a later release"],
    ["store: leasehold.db", "expected sqlite:PATH"],
    ["upstreams: {}", "later release"],
    ["seal: { type: none }", "expected one of: file, passphrase"],
    ["seal: { type: passphrase, from: hunter2 }", "expected a reference to a secret, { env: NAME } or { file: PATH }"],
    ["limits: { leasesPerAgent: 0 }", "expected at least 1"],
    ["limits: { callsPerMinute: many }", "expected a number"],
    ["agents: { Reporter: {} }", "not a valid agent name"],
    ["agents: { reporter: { role: [x] } }", 'unknown key; did you mean "roles"?'],
    ["agents: { reporter: { roles: x } }", "expected a list"],
    ["audit: { checkpointEvery: 90 }", "expected a duration like 15m"],
    ["credentials: { 'a//b': { engine: mint } }", "not a valid credential name"],
    ["credentials: { a: { engine: mnt } }", 'expected one of: mint, rest; did you mean "mint"?'],
    ["credentials: { a: {} }", "missing; expected one of: mint, rest"],
    ["credentials: { __proto__: { engine: rest, secret: { env: X } } }", "not a usable name"],
    ["[1, 2]", "expected keys and values"],
    ["hello", "expected keys and values"],
  ])("%s", (text, message) => {
    const found = problems(text).join("\n");
    expect(found).toContain(message);
    expect(found).not.toContain("hunter2");
  });

  const credential = (rest: string): string => `credentials:\n  a:\n    engine: mint\n    host: db\n${rest}`;
  const admin = "    admin: { vault: local, secret: x }\n";
  test.each([
    [`${admin}    ttl: { default: 2h, max: 1h }`, "credentials.a.ttl.default: expected no more than ttl.max"],
    [`${admin}    ttl: { default: 1h }`, "credentials.a.ttl.default: expected no more than ttl.max"],
    [`${admin}    ttl: { max: 25h }`, "credentials.a.ttl.max: expected at most 24h"],
    [`${admin}    ttl: { max: 0s }`, "credentials.a.ttl.max: expected a duration"],
    [`${admin}    labels: { year: 2026 }`, "credentials.a.labels.year: expected text; put it in quotes"],
    [`${admin}    grants: [1]`, "credentials.a.grants[0]: expected text"],
    [`${admin}    prot: 1`, 'credentials.a.prot: unknown key; did you mean "port"?'],
    [`${admin}    password: hunter2`, "credentials.a.password: unknown key; secret values do not belong in this file"],
    ["    admin: hunter2", "credentials.a.admin: expected a reference; secret values do not belong"],
    [
      "    admin: { vault: locl, secret: x }",
      'credentials.a.admin.vault: no vault of this name under vaults: (there is local); did you mean "local"?',
    ],
    [`${admin.replace("db", "nowhere")}    host: db`, "not valid YAML: this key is written twice"],
  ])("%s", (rest, message) => {
    const found = problems(credential(rest)).join("\n");
    expect(found).toContain(message);
    expect(found).not.toContain("hunter2");
  });

  test("what an engine refuses of its own part is said with the line of the key", () => {
    expect(problems("credentials:\n  a:\n    engine: mint\n    admin: { vault: local, secret: x }\n    host: nowhere\n")).toEqual([
      "5: credentials.a.host: expected a host that exists",
    ]);
  });
});

describe("problems", () => {
  test("all of them, in the order of the file, ten are shown", () => {
    const text = Array.from({ length: 14 }, (_, index) => `wrong${index}: x`).join("\n");
    expect(problems(text).map((line) => Number(line.split(":")[0]))).toEqual(Array.from({ length: 14 }, (_, index) => index + 1));
    const error = new ConfigError("f.yaml", [{ line: 3, path: "a", message: "b" }]);
    expect(error.lines()).toEqual(["f.yaml:3: a: b"]);
    const many = new ConfigError(
      "f.yaml",
      Array.from({ length: 14 }, () => ({ path: "", message: "b" })),
    );
    expect(many.lines().at(-1)).toBe("… and 4 more");
  });

  test("YAML that does not parse is never quoted (EX-06)", () => {
    const broken = [
      "a: *hunter2",
      "a: !hunter2 x",
      "a: 'hunter2",
      "a: @hunter2",
      "\ta: hunter2",
      "a: hunter2: x",
      "a: {hunter2",
      "--- a\n--- hunter2",
      '"\\hunter2": x',
    ];
    for (const text of broken) expect(problems(text)[0]).toMatch(/^\d+: : not valid YAML: /);
    expect(broken.flatMap(problems).join()).not.toContain("hunter2");
  });

  test("a file that is missing, and one that is a folder", async () => {
    await expect(loadConfig("/nowhere/leasehold.yaml", tables)).rejects.toMatchObject({
      message: "/nowhere/leasehold.yaml: there is no such file",
      fix: "Run `leasehold init` to write one, or name yours with --config.",
    });
    await expect(loadConfig(import.meta.dirname, tables)).rejects.toMatchObject({ problems: [{ message: "this is a folder" }] });
  });
});
