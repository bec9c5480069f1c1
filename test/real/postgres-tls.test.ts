import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import { createSqlPerformer } from "../../src/delivery/sql.ts";
import { orderFor } from "../../testing/engine-contract.ts";
import type { Target } from "./postgres-target.ts";
import { leaseFor, startTarget } from "./postgres-target.ts";

/** A key of this test and of nothing else. */
const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgNJd9Cx+xxr5VVvmP
DFtVfkxdnoIyJ/oUZW7k2In7hAKhRANCAAQenWvIQ7i7sRxZai17xTcaI0cBowbe
lWJJnMKjIaXyKUZpsD7G2Uq7sJfna+4iG5HAePwrT9/AS1r/cradVqAr
-----END PRIVATE KEY-----`;
const certificate = `-----BEGIN CERTIFICATE-----
MIIBmTCCAUCgAwIBAgIUCtaMDecUTexw0Zawvkusbs41NEQwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwObGVhc2Vob2xkIHRlc3QwIBcNMjYxMTIyMjIxNzAxWhgPMjEy
NjEwMjkyMjE3MDFaMBkxFzAVBgNVBAMMDmxlYXNlaG9sZCB0ZXN0MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEHp1ryEO4u7EcWWote8U3GiNHAaMG3pViSZzCoyGl
8ilGabA+xtlKu7CX52vuIhuRwHj8K0/fwEta/3K2nVagK6NkMGIwHQYDVR0OBBYE
FFuYbtbvljO8o7rVT49T/IwVCiUmMB8GA1UdIwQYMBaAFFuYbtbvljO8o7rVT49T
/IwVCiUmMA8GA1UdEwEB/wQFMAMBAf8wDwYDVR0RBAgwBocEfwAAATAKBggqhkjO
PQQDAgNHADBEAiATDCK1IWw6p6yKOUhvUqtT0XJoOWCVf2KiiruvoG2h0gIgZ2wT
BrSF/NMAZnRZHE6aYvlSd5nNXxOUI8F1zNf+u3U=
-----END CERTIFICATE-----`;

describe("postgres over TLS", () => {
  let target: Target;
  beforeAll(async () => {
    target = await startTarget();
    // The server wants a key that only it can read, so it writes the files itself.
    for (const [name, text] of Object.entries({ "server.key": key, "server.crt": certificate })) {
      await target.sql(`COPY (SELECT regexp_split_to_table('${text}', E'\\n')) TO PROGRAM 'umask 077; cat > ${name}'`);
    }
    await target.sql("ALTER SYSTEM SET ssl = on");
    await target.sql("SELECT pg_reload_conf()");
    await target.sql('ALTER ROLE "bro""ker" SET log_statement = \'none\'');
  });
  afterAll(async () => target.stop());

  const soon = (): AbortSignal => AbortSignal.timeout(15_000);
  const entry = (tls: JsonObject[string], host = "127.0.0.1") =>
    target.entry("limited", { target: { host, port: target.database.port, database: "shop", tls } });

  it("encrypts and verifies, for the admin and for the lease", async () => {
    const order = orderFor(entry({ ca: certificate }));
    const handle = target.engine.plan(order);
    const material = await target.engine.mint(order, handle, soon());
    expect(material.fields).toMatchObject({ sslmode: "verify-full", ca: certificate });
    const performer = createSqlPerformer();
    const prepared = await performer.prepare(order.entry, { statement: "SELECT 1" });
    const { output } = await prepared.perform(material, leaseFor(order, handle), soon());
    expect(output["rows"]).toEqual([[1]]);
    const sessions = `SELECT ssl, usename::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'leasehold' ORDER BY 2`;
    expect(await target.sql(sessions)).toEqual([
      { ssl: true, usename: 'bro"ker' },
      { ssl: true, usename: target.engine.nameOf(handle) },
    ]);
    await performer.release?.(order.lease);
    await target.engine.undo(handle, soon());
  });

  it.each([
    ["is signed by nobody known", true, "127.0.0.1"],
    ["is for another name", { ca: certificate }, "localhost"],
  ])("refuses a certificate that %s, before any password is sent", async (_, tls, host) => {
    const order = orderFor(entry(tls, host));
    await expect(target.engine.mint(order, target.engine.plan(order), soon())).rejects.toMatchObject({ code: "target_unavailable" });
  });
});
