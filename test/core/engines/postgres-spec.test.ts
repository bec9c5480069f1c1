import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { newPassword, scramVerifier } from "../../../src/engines/postgres-password.ts";
import { identifier, milliseconds, postgresSchema, tlsFor } from "../../../src/engines/postgres-spec.ts";

const good = {
  target: { host: "db.example.com", database: "billing" },
  admin: { vault: "local", secret: "billing-db/admin" },
  grants: ["GRANT SELECT ON ALL TABLES IN SCHEMA public TO {{role}}"],
};
const problems = (change: object): string => {
  const parsed = postgresSchema.safeParse({ ...good, ...change });
  return parsed.success ? "" : parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ");
};

describe("the postgres part of a catalogue entry", () => {
  it("fills in defaults, and parses its own output unchanged", () => {
    const spec = postgresSchema.parse(good);
    expect(spec).toMatchObject({
      target: { port: 5432 },
      connectionLimit: 5,
      onEnd: "drop",
      sql: { searchPath: ["public"], maxRows: 1000, timeout: "15s" },
    });
    expect(postgresSchema.parse(spec)).toEqual(spec);
  });

  it.each([
    "GRANT billing_ro TO {{role}}",
    "grant select (id, name) on customers to {{role}}",
    `GRANT USAGE ON SCHEMA "odd; name" TO {{role}}`,
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {{role}}",
    "ALTER ROLE {{role}} SET search_path = 'billing'",
    "ALTER ROLE {{role}} IN DATABASE billing SET work_mem = '8MB'",
  ])("takes %s", (grant) => {
    expect(problems({ grants: [grant] })).toBe("");
  });

  it.each([
    ["SELECT 1", "{{role}}"],
    ["GRANT billing_ro TO public", "{{role}}"],
    ["GRANT billing_ro TO '{{role}}'", "{{role}}"],
    [`GRANT billing_ro TO "{{role}}"`, "{{role}}"],
    ["GRANT a TO {{role}}; DROP TABLE b", "one statement"],
    ["GRANT a TO {{role}} -- more", "comments"],
    ["GRANT a TO {{role}} /* more */", "comments"],
    ["GRANT $$;$$ TO {{role}}", "dollar"],
    ["GRANT 'a TO {{role}}", "unfinished"],
    ["DROP ROLE {{role}}", "start with"],
    ["ALTER ROLE {{role}} SUPERUSER", "start with"],
    ["ALTER ROLE {{role}} PASSWORD 'x' SET", "start with"],
    ["ALTER ROLE postgres SET a = {{role}}", "start with"],
    ["GRANT a TO {{role}} WITH GRANT OPTION", "pass rights on"],
    ["GRANT a TO {{role}}   with\n admin option", "pass rights on"],
    ["GRANT pg_execute_server_program TO {{role}}", "beyond"],
    [`GRANT "pg_read_server_files" TO {{role}}`, "beyond"],
    ["GRANT {{group}} TO {{role}}", "placeholder"],
  ])("refuses %s", (grant, why) => {
    expect(problems({ grants: [grant] })).toContain(why);
  });

  it("refuses what does not go together, unknown keys, and bad values", () => {
    expect(problems({ grants: [] })).toContain("inRole");
    expect(problems({ onEnd: "reassign" })).toContain("owner");
    expect(problems({ owner: "x" })).toContain("owner");
    expect(problems({ grant: [] })).not.toBe("");
    expect(problems({ connectionLimit: -1 })).not.toBe("");
    expect(problems({ inRole: ["x".repeat(64)] })).toContain("63");
    expect(problems({ statementTimeout: "1 minute" })).toContain("duration");
    expect(problems({ target: { ...good.target, tls: { ca: "/etc/ca.pem" } } })).not.toBe("");
  });

  it("reads durations, quotes names, and wants TLS beyond this machine", () => {
    expect(["500ms", "30s", "5m", "2h"].map(milliseconds)).toEqual([500, 30_000, 300_000, 7_200_000]);
    expect(identifier(`x"; DROP ROLE y; --`)).toBe(`"x""; DROP ROLE y; --"`);
    expect(["127.0.0.1", "::1", "localhost", "/run/postgresql", "db.example.com", "127.evil.com"].map((host) => tlsFor({ host }))).toEqual([
      false,
      false,
      false,
      false,
      true,
      true,
    ]);
    expect(tlsFor({ host: "10.0.0.1", tls: false })).toBe(false);
  });
});

describe("password and verifier", () => {
  it("are what a SCRAM-SHA-256 login is checked against (RFC 5802, section 3)", async () => {
    const password = newPassword();
    expect(password).toMatch(/^[A-Za-z0-9_-]{43}$/);
    const verifier = await scramVerifier(password);
    const [, iterations, salt, stored, server] = /^SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)$/.exec(verifier) ?? [];
    const salted = pbkdf2Sync(password, Buffer.from(salt ?? "", "base64"), Number(iterations), 32, "sha256");
    const key = (label: string) => createHmac("sha256", salted).update(label).digest();
    expect(stored).toBe(createHash("sha256").update(key("Client Key")).digest("base64"));
    expect(server).toBe(key("Server Key").toString("base64"));
    expect(await scramVerifier(password)).not.toBe(verifier);
  });
});
