import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AgentName } from "../../src/core/brand.ts";
import type { AuthorizationHouse } from "./authorization-house.ts";
import { basic, claimsIn, openAuthorizationHouse, tokensOf } from "./authorization-house.ts";
import type { Person } from "./person.ts";

let house: AuthorizationHouse;
let ada: Person;
beforeAll(async () => {
  house = await openAuthorizationHouse();
  ada = await house.person();
});
afterAll(() => house.close());

describe("refresh tokens", () => {
  it("OA-10 RFC 9700 §2.2.2 rotate: each is good once, and for the client that has it", async () => {
    let tokens = await house.signIn(ada);
    const session = claimsIn(tokens.access_token)["sid"];
    for (let turn = 0; turn < 3; turn++) {
      expect((await house.refresh(tokens.refresh_token, {}, "rival")).body["error"]).toBe("invalid_grant");
      const { status, body } = await house.refresh(tokens.refresh_token);
      expect(status).toBe(200);
      const next = tokensOf(body);
      expect(next.refresh_token).not.toBe(tokens.refresh_token);
      expect(claimsIn(next.access_token)).toMatchObject({ sid: session, client_id: "app" });
      expect((await house.call(next.access_token)).status).toBe(200);
      tokens = next;
    }
  });

  it("OA-10 RFC 9700 §2.2.2 one that comes again ends the sign-in with all its tokens, once, and is a finding", async () => {
    const before = (await house.eventsOf("token.replayed")).length;
    const first = await house.signIn(ada);
    const second = tokensOf((await house.refresh(first.refresh_token)).body);
    const third = tokensOf((await house.refresh(second.refresh_token)).body);
    expect((await house.refresh(first.refresh_token)).body["error"]).toBe("invalid_grant");
    for (const { access_token: token, refresh_token: next } of [first, second, third]) {
      expect((await house.call(token)).status).toBe(401);
      expect((await house.refresh(next)).body["error"]).toBe("invalid_grant");
    }
    const session = claimsIn(first.access_token)["sid"];
    expect((await house.eventsOf("token.replayed")).slice(before)).toMatchObject([{ what: "refresh-token", client: "app", session }]);
  });

  it("OA-10 RFC 9700 §2.2.2 of fifty at the same moment one gets a token, and then nobody has any", async () => {
    const before = (await house.eventsOf("token.replayed")).length;
    const given = await house.signIn(ada);
    const answers = await Promise.all(Array.from({ length: 50 }, () => house.refresh(given.refresh_token)));
    const good = answers.filter(({ status }) => status === 200);
    expect(good.length).toBeLessThanOrEqual(1);
    expect(answers.filter(({ status, body }) => status === 400 && body["error"] === "invalid_grant")).toHaveLength(50 - good.length);
    for (const { access_token: token, refresh_token: next } of [given, ...good.map(({ body }) => tokensOf(body))]) {
      expect((await house.call(token)).status).toBe(401);
      expect((await house.refresh(next)).body["error"]).toBe("invalid_grant");
    }
    expect((await house.eventsOf("token.replayed")).slice(before)).toHaveLength(1);
  });

  it("OA-10 another sign-in of the same person to the same client goes on", async () => {
    const [one, other] = [await house.signIn(ada), await house.signIn(ada)];
    await house.refresh(one.refresh_token);
    await house.refresh(one.refresh_token);
    expect((await house.call(one.access_token)).status).toBe(401);
    expect((await house.call(other.access_token)).status).toBe(200);
    expect((await house.refresh(other.refresh_token)).status).toBe(200);
  });

  it("OA-11 RFC 6749 §6 ask for less, never for more, and less now is not less for ever", async () => {
    const { refresh_token: first } = await house.signIn(ada, "app", { scope: "use:http leases:read" });
    const more = await house.refresh(first, { scope: "use:http leases:write" });
    expect([more.status, more.body["error"]]).toEqual([400, "invalid_scope"]);
    const less = await house.refresh(first, { scope: "leases:read" });
    expect(claimsIn(tokensOf(less.body).access_token)["scope"]).toBe("leases:read");
    const all = await house.refresh(tokensOf(less.body).refresh_token);
    expect(
      String(claimsIn(tokensOf(all.body).access_token)["scope"])
        .split(" ")
        .toSorted(),
    ).toEqual(["leases:read", "use:http"]);
  });

  it("OA-11 RFC 6749 §6 what a person took the tick from does not come back by a refresh", async () => {
    const { url, verifier } = house.asking("app", { scope: "use:http use:sql" });
    const code = (await ada.authorize(url, { without: ["use:sql"] })).searchParams.get("code") ?? "";
    const { refresh_token: first } = tokensOf((await house.redeem({ code, verifier })).body);
    const asked = await house.refresh(first, { scope: "use:http use:sql" });
    if (asked.status === 200) expect(claimsIn(tokensOf(asked.body).access_token)["scope"]).toBe("use:http");
    else expect(asked.body["error"]).toBe("invalid_scope");
  });

  it("a refusal that passes uses nothing up: the sign-in of a frozen agent is there when it is unfrozen", async () => {
    const before = (await house.eventsOf("token.replayed")).length;
    const given = await house.signIn(ada);
    await house.house.operator.freeze("app" as AgentName, "test");
    for (let turn = 0; turn < 2; turn++) expect((await house.refresh(given.refresh_token)).body["error"]).toBe("invalid_client");
    await house.house.operator.unfreeze("app" as AgentName, "test");
    expect((await house.refresh(given.refresh_token)).status).toBe(200);
    expect(await house.eventsOf("token.replayed")).toHaveLength(before);
  });

  it("confidential clients prove themselves for each", async () => {
    const { code, verifier } = await house.codeFor(ada, "web");
    const { body } = await house.redeem({ code, verifier }, { client_id: "web" }, { authorization: basic("web") });
    const { refresh_token: first } = tokensOf(body);
    expect((await house.refresh(first, {}, "web")).status).toBe(401);
    expect((await house.refresh(first, {}, "web", { authorization: basic("web", "wrong") })).status).toBe(401);
    expect((await house.refresh(first, {}, "web", { authorization: basic("web") })).status).toBe(200);
  });
});

describe("the resource", () => {
  it("OA-11 RFC 8707 §2 is ours in any of its four spellings, and the token says it in one", async () => {
    for (const resource of [house.mcp, `${house.mcp}/`, house.url, `${house.url}/`]) {
      const own = await house.credentials("svc", { resource });
      expect(claimsIn(tokensOf(own.body).access_token)["aud"], resource).toBe(house.mcp);
      const given = await house.codeFor(ada, "app", { resource });
      const tokens = tokensOf((await house.redeem(given, { resource })).body);
      expect(claimsIn(tokens.access_token)["aud"], resource).toBe(house.mcp);
      expect((await house.call(tokens.access_token)).status).toBe(200);
      const again = tokensOf((await house.refresh(tokens.refresh_token, { resource })).body);
      expect(claimsIn(again.access_token)["aud"], resource).toBe(house.mcp);
    }
    expect(claimsIn((await house.signIn(ada)).access_token)["aud"]).toBe(house.mcp);
  });

  it("OA-11 RFC 8707 §2 that is not ours is invalid_target everywhere, and so are two", async () => {
    const { host } = new URL(house.url);
    const foreign = [
      "https://elsewhere.example/mcp",
      `${house.url}/sse`,
      `${house.mcp}//`,
      `${house.mcp}?x=1`,
      `${house.url}/MCP`,
      `http://user@${host}/mcp`,
      `${house.mcp}.evil.example`,
      `https://${host}/mcp`,
    ];
    for (const resource of foreign) {
      expect((await house.credentials("svc", { resource })).body["error"], resource).toBe("invalid_target");
      const back = await ada.authorize(house.asking("app", { resource }).url);
      expect([back.searchParams.get("error"), back.searchParams.has("code")], resource).toEqual(["invalid_target", false]);
    }
    for (const odd of [`${house.mcp}#x`, "not a url", ""]) {
      const { status, body } = await house.credentials("svc", { resource: odd });
      if (odd !== "") expect([status, body["error"]], odd).toEqual([400, "invalid_target"]);
    }
    const given = await house.codeFor(ada, "app", { resource: house.mcp });
    expect((await house.redeem(given, { resource: "https://elsewhere.example" })).body["error"]).toBe("invalid_target");
    const { refresh_token: next } = await house.signIn(ada);
    expect((await house.refresh(next, { resource: "https://elsewhere.example" })).body["error"]).toBe("invalid_target");
    const two = await house.token(
      [
        ["grant_type", "client_credentials"],
        ["resource", house.mcp],
        ["resource", "https://elsewhere.example"],
      ],
      { authorization: basic("svc") },
    );
    expect([two.status, two.body["error"]]).toEqual([400, "invalid_target"]);
  });
});
