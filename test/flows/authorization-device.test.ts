import * as oauth from "oauth4webapi";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AgentName } from "../../src/core/brand.ts";
import { deviceGrant } from "../../src/identity/operator-client.ts";
import type { AuthorizationHouse, Fields } from "./authorization-house.ts";
import { basic, claimsIn, openAuthorizationHouse, redirect, tokensOf } from "./authorization-house.ts";
import type { Person } from "./person.ts";

let house: AuthorizationHouse;
let ada: Person;
beforeAll(async () => {
  house = await openAuthorizationHouse();
  ada = await house.person();
});
afterAll(() => house.close());

const anyhow = { [oauth.allowInsecureRequests]: true } as const;

describe("devices", () => {
  async function begin(fields: Fields = {}) {
    const { status, body } = await house.send("/oauth/device_authorization", { client_id: "app", ...fields });
    expect(status).toBe(200);
    const text = (name: string) => String(body[name]);
    return {
      device: text("device_code"),
      user: text("user_code"),
      url: text("verification_uri"),
      complete: text("verification_uri_complete"),
    };
  }
  const poll = (code: string, client = "app", headers: Fields = {}) =>
    house.token({ grant_type: deviceGrant, device_code: code, client_id: client }, headers);

  it("oauth4webapi connects one, and the token is a person's like any other", async () => {
    const found = await oauth.discoveryRequest(new URL(house.url), { algorithm: "oauth2", ...anyhow });
    const server = await oauth.processDiscoveryResponse(new URL(house.url), found);
    const client = { client_id: "app" };
    const parameters = new URLSearchParams({ scope: "use:http", resource: house.mcp });
    const asked = await oauth.deviceAuthorizationRequest(server, client, oauth.None(), parameters, anyhow);
    const device = await oauth.processDeviceAuthorizationResponse(server, client, asked);
    expect(device.user_code).toMatch(/^[A-Z]{4}-[A-Z]{4}$/);
    expect(device.verification_uri).toBe(`${house.url}/oauth/device`);
    expect((await poll(device.device_code)).body["error"]).toBe("authorization_pending");
    expect(await ada.connect(device.verification_uri, device.user_code)).toBe("Connected");
    const answer = await oauth.deviceCodeGrantRequest(server, client, oauth.None(), device.device_code, anyhow);
    const tokens = await oauth.processDeviceCodeResponse(server, client, answer);
    expect(claimsIn(tokens.access_token)).toMatchObject({ act: { sub: "app" }, scope: "use:http", aud: house.mcp });
    expect((await house.call(tokens.access_token)).status).toBe(200);
    expect((await house.refresh(tokens.refresh_token ?? "")).status).toBe(200);
  });

  it("OA-08 a device code is good once, for its own client; a second use ends what came of the first", async () => {
    const before = (await house.eventsOf("token.replayed")).length;
    const { device, user, url } = await begin();
    await ada.connect(url, user);
    expect((await poll(device, "rival")).body["error"]).toBe("invalid_grant");
    const answers = await Promise.all(Array.from({ length: 10 }, () => poll(device)));
    const good = answers.filter(({ status }) => status === 200);
    expect(good).toHaveLength(1);
    const tokens = tokensOf(good[0]?.body ?? {});
    expect((await poll(device)).body["error"]).toBe("invalid_grant");
    expect((await house.call(tokens.access_token)).status).toBe(401);
    expect((await house.refresh(tokens.refresh_token)).body["error"]).toBe("invalid_grant");
    expect((await house.eventsOf("token.replayed")).slice(before)).toMatchObject([{ what: "code", client: "app" }]);
  });

  it("what a person refuses gives nothing, and says so", async () => {
    const { device, user, url } = await begin();
    await ada.connect(url, user, { refuse: true });
    expect((await poll(device)).body["error"]).toBe("access_denied");
    const other = await begin();
    await ada.connect(other.complete, other.user);
    await house.house.operator.freeze("app" as AgentName, "test");
    expect((await poll(other.device)).body["error"]).toBe("invalid_client");
    await house.house.operator.unfreeze("app" as AgentName, "test");
    expect((await poll(other.device)).status).toBe(200);
  });

  it("OA-11 RFC 8707 §2 asks for our resource, and no scope is all of them", async () => {
    const wrong = await house.send("/oauth/device_authorization", { client_id: "app", resource: "https://elsewhere.example" });
    expect([wrong.status, wrong.body["error"]]).toEqual([400, "invalid_target"]);
    const { device, user, url } = await begin({ resource: `${house.url}/` });
    await ada.connect(url, user);
    const { body } = await poll(device);
    expect(claimsIn(tokensOf(body).access_token)["aud"]).toBe(house.mcp);
    expect(String(body["scope"]).split(" ")).toHaveLength(6);
  });

  it("waiting is no refusal, and nothing of it is in the log", async () => {
    // What was refused before is written down in sums, a second later.
    await pause(2_100);
    const before = (await house.eventsOf("token.refused")).length;
    const { device } = await begin();
    for (let turn = 0; turn < 5; turn++) expect((await poll(device)).status).toBe(400);
    await pause(1_100);
    expect((await house.eventsOf("token.refused")).length).toBe(before);
    expect((await poll("unknown")).body["error"]).toBe("invalid_grant");
    expect((await house.send("/oauth/device_authorization", { client_id: "svc" })).status).toBeGreaterThanOrEqual(400);
  });
});

describe("pushed authorization requests", () => {
  const push = async (fields: Fields = {}, headers: Fields = {}) => {
    const { url, verifier } = house.asking("app", fields);
    const answer = await house.send("/oauth/par", Object.fromEntries(url.searchParams), headers);
    return { answer, verifier, uri: String(answer.body["request_uri"]) };
  };
  const authorizeUrl = (uri: string, client = "app") =>
    `${house.url}/oauth/authorize?${new URLSearchParams({ client_id: client, request_uri: uri }).toString()}`;

  it("are good once, and for their client", async () => {
    const { answer, uri, verifier } = await push({ scope: "use:sql" });
    expect([answer.status, answer.headers.get("cache-control")]).toEqual([201, "no-store"]);
    expect((await ada.open(authorizeUrl(uri, "rival").slice(house.url.length))).status).toBe(400);
    const code = (await ada.authorize(authorizeUrl(uri))).searchParams.get("code") ?? "";
    expect((await house.redeem({ code, verifier })).body["scope"]).toBe("use:sql");
    expect((await ada.open(authorizeUrl(uri).slice(house.url.length))).status).toBe(400);
    expect((await ada.open(authorizeUrl("urn:ietf:params:oauth:request_uri:unknown").slice(house.url.length))).status).toBe(400);
  });

  it("ask for all scopes when they name none, as others do", async () => {
    const { uri, verifier } = await push();
    const code = (await ada.authorize(authorizeUrl(uri))).searchParams.get("code") ?? "";
    expect(String((await house.redeem({ code, verifier })).body["scope"]).split(" ")).toHaveLength(6);
  });

  it("OA-01 OA-07 OA-11 are refused at once for what would be refused later", async () => {
    for (const [fields, error] of [
      [{ code_challenge: "", code_challenge_method: "" }, /invalid_request/],
      [{ code_challenge_method: "plain" }, /invalid_request/],
      [{ redirect_uri: `${redirect}/` }, /invalid_(?:request|redirect_uri)/],
      [{ resource: "https://elsewhere.example" }, /invalid_target/],
      [{ response_type: "token" }, /unsupported_response_type/],
    ] as const) {
      const { answer } = await push(fields);
      expect([answer.status, answer.body["error"]], JSON.stringify(fields)).toEqual([400, expect.stringMatching(error)]);
    }
    expect((await push({ client_id: "web" })).answer.status).toBe(401);
    expect((await push({ client_id: "web" }, { authorization: basic("web") })).answer.status).toBe(201);
  });
});
