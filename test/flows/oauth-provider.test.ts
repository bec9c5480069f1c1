import { generateKeyPairSync, randomUUID } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import type { Server } from "node:http";
import { createServer, request as requestTo } from "node:http";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { exportJWK, SignJWT } from "jose";
import * as oauth from "oauth4webapi";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { enrolmentPath } from "../../src/identity/users.ts";
import type { AuthorizationHouse, Fields } from "./authorization-house.ts";
import { claimsIn, openAuthorizationHouse, redirect } from "./authorization-house.ts";
import { freePort } from "./documents.ts";
import { operator } from "./oauth-house.ts";
import type { Person } from "./person.ts";
import { createPerson, newPassword } from "./person.ts";

const device = "urn:ietf:params:oauth:grant-type:device_code";
const details = JSON.stringify([{ type: "leasehold_credentials", credentials: ["other/*"] }]);

describe("the provider", () => {
  const machine = generateKeyPairSync("ec", { namedCurve: "P-256" });
  let house: AuthorizationHouse;
  let ada: Person;
  beforeAll(async () => {
    const jwk = { ...(await exportJWK(machine.publicKey)), kid: "machine", alg: "ES256", use: "sig" };
    house = await openAuthorizationHouse({
      agents: "  machine: { jwks: ./machine.jwks }\n",
      prepare: (folder) => writeFile(join(folder, "machine.jwks"), JSON.stringify({ keys: [jwk] })),
    });
    ada = await house.person();
  });
  afterAll(() => house.close());

  const assert = async (exp: string): Promise<Fields> => ({
    grant_type: "client_credentials",
    client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    client_assertion: await new SignJWT({ iss: "machine", sub: "machine", aud: house.url, jti: randomUUID() })
      .setProtectedHeader({ alg: "ES256", kid: "machine" })
      .setIssuedAt()
      .setExpirationTime(exp)
      .sign(machine.privateKey),
  });

  it("OA-05 keeps no assertion for longer than an hour: whoever signs for a century is refused, and nothing of it stays", async () => {
    expect((await house.token(await assert("50m"))).status).toBe(200);
    for (const exp of ["2h", "36500d"]) {
      const { status, body } = await house.token(await assert(exp));
      expect([status, body["error"]], exp).toEqual([401, "invalid_client"]);
    }
    const store = new DatabaseSync(join(house.folder, "data", "leasehold.db"), { readOnly: true });
    const longest = store.prepare("SELECT max(expires_at) AS at FROM oauth_records WHERE model = 'ReplayDetection'").get();
    store.close();
    expect(Number(longest?.["at"])).toBeLessThan(Date.now() + 3_700_000);
  });

  it("RFC 6749 §5.2 answers errors in JSON, also to who would rather read HTML", async () => {
    const html = { accept: "text/html" };
    const refused = [
      house.refresh("unknown", {}, "app", html),
      house.token({ grant_type: "authorization_code", code: "unknown", redirect_uri: redirect, client_id: "app" }, html),
      house.send("/oauth/revoke", { token: "x" }, html),
      house.send("/oauth/introspect", { token: "x" }, html),
      house.send("/oauth/par", { client_id: "nobody" }, html),
      house.send("/oauth/device_authorization", { client_id: "nobody" }, html),
      house.send("/oauth/register", {}, html),
      house.get("/oauth/register/app", html),
    ];
    for (const { status, headers, body, text } of await Promise.all(refused)) {
      expect(status, text).toBeGreaterThanOrEqual(400);
      expect(status, text).toBeLessThan(500);
      expect(headers.get("content-type"), text).toMatch(/^application\/json\b/);
      expect(body["error"], text).toBeTypeOf("string");
    }
    // A person at the authorization endpoint does read it.
    const { url } = house.asking("nobody");
    expect((await house.get(url.href.slice(house.url.length), html)).headers.get("content-type")).toMatch(/^text\/html\b/);
  });

  it("OA-11 gives nobody more than they asked for: authorization details are refused where they would be ignored, and use nothing up", async () => {
    const { url } = house.asking("app", { authorization_details: details });
    expect((await ada.authorize(url)).searchParams.get("error")).toBe("invalid_authorization_details");
    const more = { authorization_details: details };
    const error = (answer: { readonly body: Readonly<Record<string, unknown>> }) => answer.body["error"];
    expect(error(await house.send("/oauth/par", Object.fromEntries(url.searchParams)))).toBe("invalid_authorization_details");
    expect(error(await house.credentials("svc", more))).toBe("invalid_authorization_details");

    const code = await house.codeFor(ada);
    expect(error(await house.redeem(code, more))).toBe("invalid_authorization_details");
    const { body } = await house.redeem(code);
    const refreshToken = String(body["refresh_token"]);
    expect(error(await house.refresh(refreshToken, more))).toBe("invalid_authorization_details");
    expect((await house.refresh(refreshToken)).status).toBe(200);
  });
});

describe("a public URL with a path, behind a proxy that takes it off", () => {
  let proxy: Server;
  let house: AuthorizationHouse;
  let issuer: string;
  beforeAll(async () => {
    const port = await freePort();
    issuer = `http://127.0.0.1:${port}/lease/hold`;
    house = await openAuthorizationHouse({ publicUrl: issuer });
    const behind = Number(new URL(house.url).port);
    proxy = createServer((incoming, outgoing) => {
      const { method, headers, url = "" } = incoming;
      const path = url.startsWith("/lease/hold/") ? url.slice("/lease/hold".length) : url;
      const onward = requestTo({ host: "127.0.0.1", port: behind, path, method, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      });
      incoming.pipe(onward);
    }).listen(port, "127.0.0.1");
    await once(proxy, "listening");
  });
  afterAll(async () => {
    proxy.closeAllConnections();
    proxy.close();
    await house.close();
  });

  const anyhow = { [oauth.allowInsecureRequests]: true } as const;
  const discover = async () => {
    const at = new URL(issuer);
    return oauth.processDiscoveryResponse(at, await oauth.discoveryRequest(at, { algorithm: "oauth2", ...anyhow }));
  };

  it("RFC 8414 §3.3 is in every URL that is named", async () => {
    const server = await discover();
    const urls = Object.entries(server).filter(([key]) => key.endsWith("_endpoint") || key === "jwks_uri");
    expect(urls).toHaveLength(8);
    for (const [key, url] of urls) expect(url, key).toMatch(new RegExp(`^${issuer}/oauth/`));
  });

  it("a strict client signs a person in there, with DPoP, and from a device", async () => {
    const account = await house.house.users.add({ name: "ada", role: "member" }, operator);
    if (account === "taken") throw new Error("taken");
    const { token } = await house.house.users.invite(account.account, operator);
    const ada = createPerson({ home: issuer, name: "ada", password: newPassword() });
    await ada.enrol(`${issuer}${enrolmentPath(token)}`);

    const server = await discover();
    const client: oauth.Client = { client_id: "app" };
    const { url: asked, verifier } = house.asking("app", { resource: `${issuer}/mcp` });
    const url = new URL(`${String(server.authorization_endpoint)}${asked.search}`);
    const back = oauth.validateAuthResponse(server, client, await ada.authorize(url), "state-of-the-client");
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
    const answer = await oauth.authorizationCodeGrantRequest(server, client, oauth.None(), back, redirect, verifier, { DPoP, ...anyhow });
    const tokens = await oauth.processAuthorizationCodeResponse(server, client, answer);
    expect(tokens.token_type).toBe("dpop");
    expect(claimsIn(tokens.access_token)).toMatchObject({ iss: issuer, aud: `${issuer}/mcp`, client_id: "app" });

    const wait = await oauth.deviceAuthorizationRequest(server, client, oauth.None(), {}, anyhow);
    const { device_code, user_code, verification_uri } = await oauth.processDeviceAuthorizationResponse(server, client, wait);
    expect(verification_uri).toBe(`${issuer}/oauth/device`);
    await ada.connect(verification_uri, user_code);
    const { status } = await house.token({ grant_type: device, device_code, client_id: "app" });
    expect(status).toBe(200);
  });
});
