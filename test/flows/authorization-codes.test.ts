import { createHash, randomBytes } from "node:crypto";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allScopes } from "../../src/core/scope.ts";
import type { AuthorizationHouse, Fields } from "./authorization-house.ts";
import { basic, claimsIn, openAuthorizationHouse, rawRequest, redirect, tokensOf } from "./authorization-house.ts";
import type { Person } from "./person.ts";

let house: AuthorizationHouse;
let ada: Person;
beforeAll(async () => {
  house = await openAuthorizationHouse();
  ada = await house.person();
});
afterAll(() => house.close());

const anyhow = { [oauth.allowInsecureRequests]: true } as const;
const discover = async () => {
  const issuer = new URL(house.url);
  return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...anyhow }));
};

describe("strict clients", () => {
  it("oauth4webapi signs a person in with everything that it can check", async () => {
    const server = await discover();
    const client: oauth.Client = { client_id: "app" };
    const { url, verifier } = house.asking("app", { resource: house.mcp, scope: "use:http leases:write" });
    const back = oauth.validateAuthResponse(server, client, await ada.authorize(url), "state-of-the-client");
    const answer = await oauth.authorizationCodeGrantRequest(server, client, oauth.None(), back, redirect, verifier, anyhow);
    const tokens = await oauth.processAuthorizationCodeResponse(server, client, answer);
    expect(tokens).toMatchObject({ token_type: "bearer", expires_in: 600, scope: "use:http leases:write" });
    const again = await oauth.refreshTokenGrantRequest(server, client, oauth.None(), tokens.refresh_token ?? "", anyhow);
    expect((await oauth.processRefreshTokenResponse(server, client, again)).access_token).not.toBe(tokens.access_token);
  });

  it("openid-client does, too", async () => {
    const execute = [openid.allowInsecureRequests];
    const config = await openid.discovery(new URL(house.url), "app", undefined, openid.None(), { execute, algorithm: "oauth2" });
    const verifier = openid.randomPKCECodeVerifier();
    const url = openid.buildAuthorizationUrl(config, {
      redirect_uri: redirect,
      scope: "openid use:sql",
      code_challenge: await openid.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      state: "s",
      prompt: "consent",
    });
    const tokens = await openid.authorizationCodeGrant(config, await ada.authorize(url), {
      pkceCodeVerifier: verifier,
      expectedState: "s",
    });
    expect(tokens.claims()).toMatchObject({ iss: house.url, aud: "app" });
    expect(claimsIn(tokens.access_token)["sub"]).toBe(`user:${tokens.claims()?.sub}`);
    expect((await openid.refreshTokenGrant(config, tokens.refresh_token ?? "")).expires_in).toBe(600);
  });
});

describe("codes, with the verifier of their challenge (RFC 7636 §4.3, RFC 7636 §4.6)", () => {
  it.each<[string, Fields]>([
    ["no challenge", { code_challenge: "", code_challenge_method: "" }],
    ["a plain one", { code_challenge_method: "plain" }],
    ["one without a method, which would be plain", { code_challenge_method: "" }],
    ["one that is no hash", { code_challenge: "short" }],
    ["a method without a challenge", { code_challenge: "" }],
  ])("OA-07 RFC 7636 §4.3 asked for with %s are refused", async (_what, change) => {
    const back = await ada.authorize(house.asking("app", change).url);
    expect(back.searchParams.get("error")).toBe("invalid_request");
    expect(back.searchParams.has("code")).toBe(false);
  });

  it.each<[string, string | undefined]>([
    ["no verifier", undefined],
    ["a wrong one", randomBytes(32).toString("base64url")],
    ["the challenge itself", "challenge"],
    ["an empty one", ""],
    ["one that is too short", "short"],
  ])("OA-07 RFC 7636 §4.6 redeemed with %s are refused", async (_what, given) => {
    const { code, verifier } = await house.codeFor(ada);
    const sent = given === "challenge" ? createHash("sha256").update(verifier).digest("base64url") : given;
    const fields = { grant_type: "authorization_code", code, redirect_uri: redirect, client_id: "app" };
    const answer = await house.token({ ...fields, ...(sent === undefined ? {} : { code_verifier: sent }) });
    expect([answer.status, answer.body["error"]]).toEqual([400, expect.stringMatching(/^invalid_(?:grant|request)$/)]);
    expect(answer.text).not.toContain("access_token");
  });

  it("OA-08 RFC 6749 §4.1.2 one of fifty at the same moment gets tokens, and then nobody has any", async () => {
    const before = (await house.eventsOf("token.replayed")).length;
    const given = await house.codeFor(ada);
    const answers = await Promise.all(Array.from({ length: 50 }, () => house.redeem(given)));
    const good = answers.filter(({ status }) => status === 200);
    expect(good).toHaveLength(1);
    expect(new Set(answers.filter(({ status }) => status !== 200).map(({ status, body }) => `${status} ${String(body["error"])}`))).toEqual(
      new Set(["400 invalid_grant"]),
    );
    const { access_token: token, refresh_token: next } = tokensOf(good[0]?.body ?? {});
    expect((await house.call(token)).status).toBe(401);
    expect((await house.refresh(next)).body["error"]).toBe("invalid_grant");
    const findings = (await house.eventsOf("token.replayed")).slice(before);
    expect(findings).toMatchObject([{ what: "code", client: "app", session: claimsIn(token)["sid"] }]);
  });

  it("OA-08 RFC 6749 §4.1.2 a second use, later, ends what came of the first", async () => {
    const given = await house.codeFor(ada);
    const first = tokensOf((await house.redeem(given)).body);
    expect((await house.call(first.access_token)).status).toBe(200);
    expect((await house.redeem(given)).body["error"]).toBe("invalid_grant");
    expect((await house.call(first.access_token)).status).toBe(401);
    expect((await house.refresh(first.refresh_token)).body["error"]).toBe("invalid_grant");
    expect((await house.eventsOf("token.replayed")).at(-1)).toMatchObject({ what: "code", session: claimsIn(first.access_token)["sid"] });
  });

  it("OA-09 RFC 6749 §4.1.3 belong to their client and their redirect URI, and are still good for it", async () => {
    const given = await house.codeFor(ada);
    expect((await house.redeem(given, { client_id: "rival" })).body["error"]).toBe("invalid_grant");
    expect((await house.redeem(given, { client_id: "web" }, {})).body["error"]).toBe("invalid_client");
    expect((await house.redeem(given, { redirect_uri: `${redirect}/two` })).body["error"]).toBe("invalid_grant");
    expect((await house.redeem(given, { redirect_uri: "" })).body["error"]).toMatch(/^invalid_(?:grant|request)$/);
    expect((await house.redeem(given)).status).toBe(200);
  });

  it("RFC 6749 §3.1.2.3 go to a redirect URI that was registered, character by character", async () => {
    for (const other of [
      `${redirect}/`,
      `${redirect}?x`,
      "https://app.example/Back",
      "https://app.example/back/../back",
      `${redirect}/twoo`,
      "",
    ]) {
      const page = await ada.open(house.asking("app", { redirect_uri: other }).url.href.slice(house.url.length));
      expect([page.status, page.url.host], other).toEqual([400, new URL(house.url).host]);
    }
    expect((await ada.authorize(house.asking("app", { redirect_uri: `${redirect}/two` }).url)).href).toMatch(
      /^https:\/\/app\.example\/back\/two\?/,
    );
  });

  it("RFC 9700 §2.1.2 are all that the authorization endpoint gives out", async () => {
    for (const type of ["token", "id_token", "code token", "code id_token", "none"]) {
      const back = await ada.authorize(house.asking("app", { response_type: type, nonce: "n", scope: "openid" }).url);
      expect(`${back.search}${back.hash}`, type).toMatch(/[?#&]error=unsupported_response_type&/);
      expect(`${back.search}${back.hash}`, type).not.toMatch(/token=|code=/);
    }
    const fragment = await ada.authorize(house.asking("app", { response_mode: "fragment" }).url);
    expect(`${fragment.search}${fragment.hash}`).not.toContain("access_token");
    expect((await house.token({ grant_type: "password", username: "ada", password: "x", client_id: "app" })).body["error"]).toBe(
      "unsupported_grant_type",
    );
  });
});

describe("responses of the authorization endpoint", () => {
  it("OA-14 RFC 9207 §2 carry iss, when they succeed and when they fail, and it is advertised", async () => {
    const good = await ada.authorize(house.asking().url);
    const refused = await ada.authorize(house.asking().url, { refuse: true });
    const wrong = await ada.authorize(house.asking("app", { code_challenge_method: "plain" }).url);
    expect([good, refused, wrong].map(({ searchParams }) => searchParams.get("iss"))).toEqual([house.url, house.url, house.url]);
    expect([refused, wrong].map(({ searchParams }) => searchParams.get("error"))).toEqual(["access_denied", "invalid_request"]);
    expect(good.searchParams.get("state")).toBe("state-of-the-client");
    expect(await discover()).toMatchObject({ issuer: house.url, authorization_response_iss_parameter_supported: true });
  });

  it("RFC 9700 §4.12 a form with a password is answered with 303, and so is all that follows", async () => {
    const grace = await house.person("grace");
    const seen: number[] = [];
    const { fetch } = globalThis;
    globalThis.fetch = async (...request) => {
      const response = await fetch(...request);
      if (response.status >= 300 && response.status < 400) seen.push(response.status);
      return response;
    };
    await grace.authorize(house.asking().url).finally(() => (globalThis.fetch = fetch));
    expect(seen.length).toBeGreaterThan(3);
    expect(new Set(seen)).toEqual(new Set([303]));
  });
});

describe("token requests", () => {
  it("RFC 6749 §3.2.1 a client with a secret proves itself; one without names itself", async () => {
    const { code, verifier } = await house.codeFor(ada, "web");
    const fields = { grant_type: "authorization_code", code, code_verifier: verifier, redirect_uri: redirect };
    for (const [more, headers] of [
      [{ client_id: "web" }, {}],
      [{}, { authorization: basic("web", "wrong") }],
      [{ client_id: "web", client_secret: "wrong" }, {}],
      [{}, { authorization: basic("nobody") }],
    ] as const) {
      const answer = await house.token({ ...fields, ...more }, headers);
      expect([answer.status, answer.body["error"]]).toEqual([401, "invalid_client"]);
    }
    expect((await house.token(fields)).status).toBeGreaterThanOrEqual(400);
    expect((await house.token(fields, { authorization: basic("web") })).status).toBe(200);
    const mine = await house.codeFor(ada);
    expect((await house.redeem(mine, { client_id: "" })).status).toBeGreaterThanOrEqual(400);
  });

  it("RFC 6749 §5.2 errors have a code, and a client that failed to prove itself is told how", async () => {
    const answers = {
      invalid_client: await house.token({ grant_type: "client_credentials" }, { authorization: basic("svc", "wrong") }),
      invalid_grant: await house.token({
        grant_type: "authorization_code",
        code: "x",
        redirect_uri: redirect,
        client_id: "app",
        code_verifier: "y".repeat(43),
      }),
      unsupported_grant_type: await house.token({ grant_type: "nonsense", client_id: "app" }),
      invalid_request: await house.token({ client_id: "app" }),
      invalid_target: await house.credentials("svc", { resource: "https://elsewhere.example/mcp" }),
    };
    for (const [code, { status, body, headers }] of Object.entries(answers)) {
      expect([code, status]).toEqual([body["error"], code === "invalid_client" ? 401 : 400]);
      expect(headers.get("content-type")).toMatch(/^application\/json/);
      expect(headers.get("cache-control")).toBe("no-store");
    }
    expect(answers.invalid_client.headers.get("www-authenticate")).toMatch(/^Basic /);
    const twice = await house.token([
      ["grant_type", "client_credentials"],
      ["grant_type", "refresh_token"],
      ["client_id", "app"],
    ]);
    expect([twice.status, twice.body["error"]]).toEqual([400, "invalid_request"]);
    expect((await house.get("/oauth/token")).status).toBeGreaterThanOrEqual(400);
  });

  it("RFC 6749 §5.1 what is answered is stored by nobody on the way", async () => {
    for (const { headers, status } of [await house.credentials(), await house.redeem(await house.codeFor(ada))]) {
      expect(status).toBe(200);
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("content-type")).toMatch(/^application\/json/);
    }
  });

  it("RFC 6749 §3.3 the response tells the scope: all of ours where none was asked for, and none that we do not know", async () => {
    const all = allScopes.join(" ");
    expect((await house.credentials()).body["scope"]).toBe(all);
    expect((await house.credentials("svc", { scope: "use:http mail:send admin" })).body["scope"]).toBe("use:http");
    expect((await house.signIn(ada)).scope.split(" ").toSorted()).toEqual([...allScopes].toSorted());
    expect((await house.signIn(ada, "app", { scope: "leases:read mail:send" })).scope).toBe("leases:read");
    const some = await house.codeFor(ada, "app", { scope: "use:http use:sql" });
    expect((await house.redeem(some)).body["scope"]).toBe("use:http use:sql");
    const fewer = house.asking("app", { scope: "use:http use:sql" });
    const code = (await ada.authorize(fewer.url, { without: ["use:sql"] })).searchParams.get("code") ?? "";
    expect((await house.redeem({ code, verifier: fewer.verifier })).body["scope"]).toBe("use:http");
  });

  it("a request for scopes none of which are ours gives a token that is good for nothing, not for everything", async () => {
    const { body } = await house.credentials("svc", { scope: "mail:send" });
    if (typeof body["access_token"] === "string") expect(claimsIn(body["access_token"])["scope"]).toBe("");
    else expect(body["error"]).toBe("invalid_scope");
  });

  it("a client without credentials gets no token for itself", async () => {
    const { status, body } = await house.token({ grant_type: "client_credentials", client_id: "app" });
    expect([status, body["error"]]).toEqual([400, expect.stringMatching(/^(?:unauthorized_client|invalid_request)$/)]);
  });
});

describe("metadata", () => {
  it("RFC 8414 §2 name what the server does, and nothing that it does not", async () => {
    const document = (await house.get("/.well-known/oauth-authorization-server")).body;
    expect(document).toMatchObject({
      issuer: house.url,
      response_types_supported: ["code"],
      code_challenge_methods_supported: ["S256"],
      scopes_supported: expect.arrayContaining([...allScopes]),
      dpop_signing_alg_values_supported: expect.arrayContaining(["ES256"]),
      client_id_metadata_document_supported: true,
    });
    for (const name of ["userinfo_endpoint", "end_session_endpoint", "backchannel_authentication_endpoint"])
      expect(document).not.toHaveProperty(name);
    expect(document["token_endpoint_auth_methods_supported"]).toEqual([
      "none",
      "client_secret_basic",
      "client_secret_post",
      "private_key_jwt",
    ]);
    expect(document["grant_types_supported"]).toEqual(
      expect.arrayContaining([
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:token-exchange",
      ]),
    );
    expect(JSON.stringify(document)).not.toMatch(/HS256|"implicit"|"password"|"plain"/);
    for (const [name, value] of Object.entries(document)) {
      if (!/_endpoint$|jwks_uri/.test(name)) continue;
      const method = /^(?:authorization_endpoint|jwks_uri)$/.test(name) ? "GET" : "POST";
      const { status } = await fetch(String(value), { method, redirect: "manual" });
      expect([200, 400, 401], name).toContain(status);
    }
  });

  it("RFC 8414 §3.3 the issuer is the one they were found at, also behind the path of OpenID Connect", async () => {
    const [one, other] = [await house.get("/.well-known/oauth-authorization-server"), await house.get("/.well-known/openid-configuration")];
    expect([one.body["issuer"], other.body["issuer"]]).toEqual([house.url, house.url]);
    const resource = (await house.get("/.well-known/oauth-protected-resource/mcp")).body;
    expect(resource).toMatchObject({ resource: house.mcp, authorization_servers: [house.url] });
  });

  it("OA-15 Host and forwarding headers change nothing, in metadata, redirects and cookies", async () => {
    const { port, host } = new URL(house.url);
    const liar: Fields = {
      "x-forwarded-host": "evil.example",
      "x-forwarded-proto": "https",
      "x-forwarded-for": "203.0.113.9",
      "x-forwarded-prefix": "/evil",
      forwarded: "for=203.0.113.9;host=evil.example;proto=https",
    };
    const authorize = house.asking("app").url.href.slice(house.url.length);
    for (const path of ["/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource", "/oauth/jwks", authorize]) {
      const honest = await rawRequest(Number(port), path, { headers: { host } });
      const lied = await rawRequest(Number(port), path, { headers: { host, ...liar } });
      const foreign = await rawRequest(Number(port), path, { headers: { host: "evil.example", ...liar } });
      expect(lied.status, path).toBe(honest.status);
      const shown = [lied, foreign].map(({ headers, text }) => JSON.stringify([...headers]) + text).join("");
      expect(shown, path).not.toMatch(/evil|203\.0\.113/);
      if (path !== authorize) expect(lied.text).toBe(honest.text);
      const cookies = (answer: typeof honest) => answer.headers.getSetCookie().map((one) => one.replaceAll(/=[^;]+/g, "="));
      expect(cookies(lied)).toEqual(cookies(honest));
      expect([200, 303, 400, 403, 421]).toContain(foreign.status);
    }
    expect((await house.eventsOf("auth.refused")).every(({ ip }) => ip !== "203.0.113.9")).toBe(true);
  });
});
