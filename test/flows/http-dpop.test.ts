import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { calculateJwkThumbprint, exportJWK } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AgentName } from "../../src/core/brand.ts";
import { publicUrl, startHttpHouse, toolCall } from "./http-house.ts";
import type { HttpHouse } from "./http-house.ts";

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const jwk = await exportJWK(publicKey);
const jkt = await calculateJwkThumbprint(jwk);
const bound = { bound: { jkt } } as const;

let http: HttpHouse;
beforeAll(async () => {
  http = await startHttpHouse({ rights: { bot: { "crm/api": ["use", "inject"] }, other: {} } });
});
afterAll(() => http.server.close(100));

function proof(token: string, claims: object = {}): string {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const body = {
    jti: randomUUID(),
    htm: "POST",
    htu: `${publicUrl}/mcp`,
    iat: Math.floor(Date.now() / 1000),
    ath: createHash("sha256").update(token).digest("base64url"),
    ...claims,
  };
  const signed = `${encode({ typ: "dpop+jwt", alg: "ES256", jwk })}.${encode(body)}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

const whoami = toolCall("whoami");
const challengeOf = (response: Response): string => response.headers.get("www-authenticate") ?? "";

describe("a token that is bound to a key (RFC 9449 §7.1)", () => {
  it("is good with a fresh proof for each request, also at other paths", async () => {
    const { token } = http.token("bot", bound);
    for (let i = 0; i < 3; i++) {
      const answer = await http.post(whoami, { authorization: `DPoP ${token}`, dpop: proof(token) });
      expect(await answer.json()).toMatchObject({ result: { structuredContent: { agent: "bot", sender_constrained: true } } });
    }
    const redeem = proof(token, { htu: `${publicUrl}/v1/handles/redeem` });
    expect((await http.post({ handle: "lhh_x" }, { authorization: `DPoP ${token}`, dpop: redeem }, "/v1/handles/redeem")).status).toBe(404);
  });

  it("OA-20: is worth nothing as a bearer token, with or without a proof", async () => {
    const { token } = http.token("bot", bound);
    for (const more of [{}, { dpop: proof(token) }]) {
      const answer = await http.post(whoami, { authorization: `Bearer ${token}`, ...more });
      expect(answer.status).toBe(401);
      expect(challengeOf(answer)).toContain('error="invalid_token"');
    }
  });

  it.each<[string, (token: string) => Record<string, string>]>([
    ["no proof", () => ({})],
    ["rubbish", () => ({ dpop: "a.b.c" })],
    ["two proofs", (token) => ({ dpop: `${proof(token)}, ${proof(token)}` })],
    ["a proof for another method", (token) => ({ dpop: proof(token, { htm: "GET" }) })],
    ["a proof for another path", (token) => ({ dpop: proof(token, { htu: `${publicUrl}/sse` }) })],
    ["a proof for where it really connected", (token) => ({ dpop: proof(token, { htu: `${http.url}/mcp` }) })],
    ["a proof for another token", () => ({ dpop: proof("another") })],
    ["an old proof", (token) => ({ dpop: proof(token, { iat: Date.now() / 1000 - 120 }) })],
  ])("OA-20: is refused with %s as 401 invalid_dpop_proof", async (_what, more) => {
    const { token } = http.token("bot", bound);
    const answer = await http.post(whoami, { authorization: `DPoP ${token}`, ...more(token) });
    expect(answer.status).toBe(401);
    expect(challengeOf(answer)).toMatch(/^DPoP error="invalid_dpop_proof", resource_metadata="[^"]+", algs="ES256 EdDSA Ed25519"$/);
    expect(await answer.json()).toMatchObject({ error: "invalid_dpop_proof" });
  });

  it("OA-20: is refused when its proof comes a second time (RFC 9449 §11.1)", async () => {
    const { token } = http.token("bot", bound);
    const once = { authorization: `DPoP ${token}`, dpop: proof(token) };
    expect((await http.post(whoami, once)).status).toBe(200);
    const again = await http.post(whoami, once);
    expect(again.status).toBe(401);
    expect(challengeOf(again)).toContain('error="invalid_dpop_proof"');
  });

  it("OA-20: of another key, and tokens that are bound to none, are refused under the scheme", async () => {
    for (const order of [{}, { bound: { jkt: "A".repeat(43) } }, { bound: { "x5t#S256": jkt } }]) {
      const { token } = http.token("bot", order);
      const answer = await http.post(whoami, { authorization: `DPoP ${token}`, dpop: proof(token) });
      expect(answer.status).toBe(401);
      expect(challengeOf(answer)).toMatch(/^DPoP error="invalid_token"/);
    }
  });

  it("is asked for more scopes under its own scheme", async () => {
    const { token } = http.token("bot", { ...bound, scopes: ["use:sql"] });
    const answer = await http.post(toolCall("list_leases"), { authorization: `DPoP ${token}`, dpop: proof(token) });
    expect(answer.status).toBe(403);
    expect(challengeOf(answer)).toMatch(/^DPoP error="insufficient_scope", scope="leases:read use:sql", /);
  });
});

describe("where every token must be bound", () => {
  it("refuses bearer tokens of everyone, says so, and offers no other scheme (RFC 9728 section 2)", async () => {
    const strict = await startHttpHouse({ parts: { dpop: { required: true, agents: new Set() } } });
    expect((await strict.post(whoami)).status).toBe(401);
    const { token } = strict.token("bot", bound);
    expect((await strict.post(whoami, { authorization: `DPoP ${token}`, dpop: proof(token) })).status).toBe(200);
    expect(challengeOf(await fetch(`${strict.url}/mcp`))).toMatch(
      /^DPoP algs="ES256 EdDSA Ed25519", resource_metadata="[^"]+", scope="[^"]+"$/,
    );
    const metadata = await fetch(`${strict.url}/.well-known/oauth-protected-resource`);
    expect(await metadata.json()).toMatchObject({ dpop_bound_access_tokens_required: true });
    await strict.server.close(100);
  });

  it("or those of one agent", async () => {
    const mixed = await startHttpHouse({
      rights: { bot: {}, other: {} },
      parts: { dpop: { required: false, agents: new Set(["bot" as AgentName]) } },
    });
    expect((await mixed.post(whoami)).status).toBe(401);
    expect((await mixed.post(whoami, mixed.headers("other"))).status).toBe(200);
    await mixed.server.close(100);
  });
});
