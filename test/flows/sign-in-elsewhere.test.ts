import { createHash, hash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createAuthenticator } from "../core/oauth/authenticator.ts";
import type { Browser, Seen } from "./browser.ts";
import { createBrowser, formOf } from "./browser.ts";
import type { PeopleStore, TestProvider } from "./sign-in-house.ts";
import { openPeopleStore, openProvider, operator } from "./sign-in-house.ts";

const clients = [
  {
    client_id: "known",
    redirect_uris: ["https://known.example/back"],
    source: "operator" as const,
    grant_types: ["authorization_code"],
    response_types: ["code" as const],
    token_endpoint_auth_method: "none" as const,
  },
];
const challenge = hash("sha256", randomBytes(32).toString("base64url"), "base64url");
const authorize = `/oauth/authorize?${new URLSearchParams({ client_id: "known", response_type: "code", redirect_uri: "https://known.example/back", scope: "use:sql", code_challenge: challenge, code_challenge_method: "S256" }).toString()}`;

let store: PeopleStore;
let house: TestProvider;
let browser: Browser;

beforeEach(async () => {
  store = await openPeopleStore();
});
afterEach(async () => {
  await house.close();
  await store.close();
});

describe("an OpenID provider", () => {
  interface Person {
    readonly sub: string;
    readonly email?: string;
    readonly email_verified?: boolean;
    readonly groups?: readonly string[];
  }
  let provider: Awaited<ReturnType<typeof openIdProvider>>;

  beforeEach(async () => {
    provider = await openIdProvider();
    house = await openProvider(store, {
      clients,
      openid: {
        issuer: provider.issuer,
        clientId: "leasehold",
        clientSecret: async () => "secret of a client",
        scopes: ["openid", "email"],
        teams: "groups",
        allow: { emails: ["*@example.com", "one@other.example"], teams: ["staff"] },
        operators: ["admins"],
      },
    });
    browser = createBrowser(house.publicUrl);
  });
  afterEach(() => provider.close());

  /** Leaves for the provider; answers with where it was to go. */
  async function leave(from: Browser = browser, page?: Seen): Promise<URL> {
    const onward = await from.submit(page ?? (await from.open(authorize)), "openid");
    expect(onward.status).toBe(200);
    const to = /content="0; url=([^"]+)"/.exec(onward.text)?.[1] ?? "";
    return new URL(to.replaceAll("&amp;", "&"));
  }

  const backFrom = (to: URL, person: Person, more: Record<string, unknown> = {}): string =>
    `/oauth/openid/callback?${provider.answer(to, person, more).toString()}`;

  it("vouches for a person: code, PKCE, nonce and state, then our own consent (OpenID Connect Core 1.0 section 3.1)", async () => {
    const to = await leave();
    expect(Object.fromEntries(to.searchParams)).toMatchObject({
      response_type: "code",
      client_id: "leasehold",
      scope: "openid email",
      code_challenge_method: "S256",
    });
    const consent = await browser.open(
      backFrom(to, { sub: "s1", email: "Ada@example.com", email_verified: true, groups: ["staff", "admins"] }),
    );
    expect(consent.text).toContain("Allow this app?");
    expect(consent.text).toContain("ada@example.com");
    expect((await browser.submit(consent, "allow")).url.searchParams.has("code")).toBe(true);
    const account = await store.users.byName("ada@example.com");
    expect(account).toMatchObject({
      issuer: provider.issuer,
      subject: "s1",
      role: "operator",
      teams: ["staff", "admins"],
      email: "ada@example.com",
    });
    expect((await store.events()).map((event) => event["kind"])).toEqual(["user.added", "user.signed-in", "consent.given"]);
    expect(provider.seen).toMatchObject([{ code_verifier: expect.any(String), redirect_uri: `${house.publicUrl}/oauth/openid/callback` }]);
  });

  it("teams and role are those of the latest sign-in; a subject is one account, a name is none", async () => {
    await browser.open(backFrom(await leave(), { sub: "s1", email: "ada@example.com", email_verified: true, groups: ["admins"] }));
    const other = createBrowser(house.publicUrl);
    await other.open(backFrom(await leave(other), { sub: "s1", email: "ada@example.com", email_verified: true, groups: ["staff"] }));
    expect(await store.users.list()).toMatchObject([{ role: "member", teams: ["staff"] }]);
    const third = createBrowser(house.publicUrl);
    await third.open(backFrom(await leave(third), { sub: "s2", email: "ada@example.com", email_verified: true }));
    expect((await store.users.list()).map(({ name, subject }) => [name, subject])).toEqual([
      ["ada@example.com", "s1"],
      ["ada@example.com-2", "s2"],
    ]);
  });

  it.each<[string, Person]>([
    ["an address of another domain", { sub: "x", email: "ada@example.com.evil.example", email_verified: true }],
    ["an address that only ends alike", { sub: "x", email: "ada@notexample.com", email_verified: true }],
    ["an address that nobody verified", { sub: "x", email: "ada@example.com", email_verified: false }],
    [
      "an address that is said to be verified in words",
      { sub: "x", email: "ada@example.com", email_verified: "true" as unknown as boolean },
    ],
    ["teams that are not asked for", { sub: "x", groups: ["staf", "admins"] }],
    ["nothing", { sub: "x" }],
  ])("does not let in %s", async (_, person) => {
    const page = await browser.open(backFrom(await leave(), person));
    expect(page.status).toBe(403);
    expect(page.text).toContain("not admitted here");
    expect(await store.users.list()).toEqual([]);
    expect((await store.events()).map((event) => [event["kind"], event["why"]])).toEqual([["user.refused", "not-allowed"]]);
  });

  it("a disabled person stays out", async () => {
    await browser.open(backFrom(await leave(), { sub: "s1", groups: ["staff"] }));
    const [account] = await store.users.list();
    await store.users.change(account?.account ?? "", "user.disabled", operator);
    const other = createBrowser(house.publicUrl);
    expect((await other.open(backFrom(await leave(other), { sub: "s1", groups: ["staff"] }))).status).toBe(403);
  });

  it("OA-13 the callback belongs to the browser that left: not without its cookie, not with another's, not with another state", async () => {
    const ada = { sub: "s1", groups: ["staff"] };
    const thief = createBrowser(house.publicUrl);
    const stolen = backFrom(await leave(), ada);
    expect((await thief.open(stolen)).status).toBe(403);
    await leave(thief);
    expect((await thief.open(stolen)).status).toBe(403);
    expect((await thief.open("/oauth/openid/callback?code=x&state=x")).status).toBe(403);
    expect((await thief.open("/oauth/openid/callback?error=access_denied")).status).toBe(403);
    // Its own state in a cookie of its own making.
    const made = { bound: "account", state: "x".repeat(43), nonce: "n", verifier: "v".repeat(43), until: store.now() + 60_000 };
    const forged = `${Buffer.from(JSON.stringify(made)).toString("base64url")}.${"A".repeat(43)}`;
    thief.take([{ name: "leasehold_openid", value: forged, path: "/oauth/openid/callback" }]);
    const asked = new URL(
      `https://login.example/?state=${made.state}&nonce=n&code_challenge=${hash("sha256", made.verifier, "base64url")}`,
    );
    expect((await thief.open(backFrom(asked, ada))).status).toBe(403);
    await leave(thief);
    expect(await store.users.list()).toEqual([]);
    // The cookie is set by the button only, and goes to the callback only.
    expect(thief.cookies().filter(({ name }) => name === "leasehold_openid")).toMatchObject([{ path: "/oauth/openid/callback" }]);
    const looking = createBrowser(house.publicUrl);
    await looking.open(authorize);
    expect(looking.cookies().some(({ name }) => name === "leasehold_openid")).toBe(false);
  });

  it("OA-13 whoever is signed in there already still has to consent here, and an answer is good for ten minutes and one interaction", async () => {
    const to = await leave();
    store.clock.ahead = 600_001;
    expect((await browser.open(backFrom(to, { sub: "s1", groups: ["staff"] }))).status).toBe(403);
    const again = await leave();
    const callback = backFrom(again, { sub: "s1", groups: ["staff"] });
    const consent = await browser.open(callback);
    expect(consent.text).toContain("Allow this app?");
    expect((await browser.open(callback)).status).toBe(403);
  });

  it.each<[string, Record<string, unknown>]>([
    ["another nonce", { nonce: "other" }],
    ["another audience", { aud: "other" }],
    ["another issuer", { iss: "https://evil.example" }],
    ["a time long past", { exp: 1 }],
    ["a signature of somebody else", { forged: true }],
  ])("an ID token with %s is refused", async (_, more) => {
    expect((await browser.open(backFrom(await leave(), { sub: "s1", groups: ["staff"] }, more))).status).toBe(403);
    expect(await store.users.list()).toEqual([]);
  });

  it("also opens a person's own page; and when it is away, that is said", async () => {
    const page = await browser.open("/oauth/account");
    expect((await browser.open(backFrom(await leave(browser, page), { sub: "s1", groups: ["staff"] }))).text).toContain("Your account");
    await provider.close();
    store.clock.ahead = 3_700_000;
    const away = createBrowser(house.publicUrl);
    expect((await away.submit(await away.open(authorize), "openid")).status).toBe(503);
  });

  /** As much of one as it takes. What it says is put into the code, so that each test says it itself. */
  async function openIdProvider() {
    const { publicKey, privateKey } = await generateKeyPair("ES256");
    const forger = await generateKeyPair("ES256");
    const codes = new Map<string, { person: Person; more: Record<string, unknown>; nonce: string; challenge: string }>();
    const seen: Record<string, string>[] = [];
    let issuer = "";
    const server: Server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => void chunks.push(chunk));
      request.on("end", () => void respond(request, response, Buffer.concat(chunks).toString()));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    issuer = `http://localhost:${(server.address() as AddressInfo).port}`;

    async function respond(request: IncomingMessage, response: ServerResponse, body: string): Promise<void> {
      const answer = await answerTo(request.url ?? "", body, request.headers.authorization);
      response
        .writeHead(answer ? 200 : 400, { "content-type": "application/json" })
        .end(JSON.stringify(answer ?? { error: "invalid_grant" }));
    }

    async function answerTo(path: string, body: string, authorization = ""): Promise<unknown> {
      if (path === "/.well-known/openid-configuration")
        return {
          issuer,
          authorization_endpoint: `${issuer}/authorize`,
          token_endpoint: `${issuer}/token`,
          jwks_uri: `${issuer}/jwks`,
          id_token_signing_alg_values_supported: ["ES256"],
        };
      if (path === "/jwks") return { keys: [{ ...(await exportJWK(publicKey)), kid: "k", alg: "ES256", use: "sig" }] };
      const form = Object.fromEntries(new URLSearchParams(body));
      seen.push(form);
      const found = codes.get(form["code"] ?? "");
      codes.delete(form["code"] ?? "");
      const proved =
        createHash("sha256")
          .update(form["code_verifier"] ?? "")
          .digest("base64url") === found?.challenge;
      if (!found || !proved || !authorization.startsWith("Basic ")) return undefined;
      const { forged, ...claims }: Record<string, unknown> = {
        iss: issuer,
        aud: "leasehold",
        nonce: found.nonce,
        exp: Math.floor(store.now() / 1000) + 300,
        ...found.person,
        ...found.more,
      };
      const key = forged === true ? forger.privateKey : privateKey;
      const idToken = await new SignJWT({ ...claims, iat: Math.floor(Date.now() / 1000) })
        .setProtectedHeader({ alg: "ES256", kid: "k" })
        .sign(key);
      return { access_token: "at", token_type: "Bearer", id_token: idToken };
    }

    return {
      issuer,
      seen,
      answer(to: URL, person: Person, more: Record<string, unknown>): URLSearchParams {
        const code = randomBytes(8).toString("hex");
        codes.set(code, {
          person,
          more,
          nonce: to.searchParams.get("nonce") ?? "",
          challenge: to.searchParams.get("code_challenge") ?? "",
        });
        return new URLSearchParams({ code, state: to.searchParams.get("state") ?? "" });
      },
      close: () =>
        new Promise<void>((resolve) => {
          server.closeAllConnections();
          server.close(() => resolve());
        }),
    };
  }
});

describe("passkeys", () => {
  beforeEach(async () => {
    house = await openProvider(store, { clients });
    browser = createBrowser(house.publicUrl);
  });

  async function enrolled(role: "operator" | "member" = "operator") {
    const account = await store.users.add({ name: "ada", role }, operator);
    if (account === "taken") throw new Error("taken");
    const { token } = await store.users.invite(account.account, operator);
    const page = await browser.open(`/oauth/enroll/${token}`);
    const authenticator = createAuthenticator(house.publicUrl);
    const made = authenticator.create(formOf(page, "passkey").passkey ?? "");
    const done = await browser.submit(page, "passkey", { passkey: made });
    expect(done.text).toContain("You are set up");
    return { account, authenticator };
  }

  it("are two factors by themselves, for operators too: enrolled by link, used to sign in (WebAuthn level 2)", async () => {
    const { account, authenticator } = await enrolled();
    const page = await browser.open(authorize);
    const answer = authenticator.get(formOf(page, "passkey").passkey ?? "");
    const consent = await browser.submit(page, "passkey", { passkey: answer });
    expect(consent.text).toContain("Allow this app?");
    expect((await store.events()).slice(-2)).toMatchObject([
      { kind: "user.enrolled", method: "passkey" },
      { kind: "user.signed-in", method: "passkey", user: account.account },
    ]);
  });

  it("an answer is good for the sign-in that it was given to, once", async () => {
    const { authenticator } = await enrolled();
    const other = createBrowser(house.publicUrl);
    const [mine, theirs] = [await browser.open(authorize), await other.open(authorize)];
    const answer = authenticator.get(formOf(mine, "passkey").passkey ?? "");
    expect((await other.submit(theirs, "passkey", { passkey: answer })).status).toBe(401);
    const all = await Promise.all(Array.from({ length: 10 }, () => browser.submit(mine, "passkey", { passkey: answer })));
    expect(all.filter(({ text }) => text.includes("Allow this app?"))).toHaveLength(1);
  });

  it("work while the password of the same account is being guessed at", async () => {
    const { authenticator } = await enrolled("member");
    const thief = createBrowser(house.publicUrl);
    let guessing = await thief.open(authorize);
    for (let guess = 0; guess < 10; guess += 1) guessing = await thief.submit(guessing, "password", { name: "ada", password: "x" });
    expect(guessing.status).toBe(429);
    const page = await browser.open(authorize);
    const consent = await browser.submit(page, "passkey", { passkey: authenticator.get(formOf(page, "passkey").passkey ?? "") });
    expect(consent.text).toContain("Allow this app?");
  });

  it("are added and removed on a person's own page", async () => {
    const { account, authenticator } = await enrolled();
    const page = await browser.open("/oauth/account");
    const own = await browser.submit(page, "passkey", { passkey: authenticator.get(formOf(page, "passkey").passkey ?? "") });
    const second = createAuthenticator(house.publicUrl);
    const more = await browser.submit(own, "passkey", { passkey: second.create(formOf(own, "passkey").passkey ?? "") });
    expect(await store.users.passkeys(account.account)).toHaveLength(2);
    // One that is somebody's already is nobody else's.
    expect((await browser.submit(more, "passkey", { passkey: second.create(formOf(more, "passkey").passkey ?? "") })).status).toBe(400);
    await browser.submit(more, "remove-passkey");
    expect(await store.users.passkeys(account.account)).toHaveLength(1);
    const again = await createBrowser(house.publicUrl).open(authorize);
    expect((await browser.submit(again, "passkey", { passkey: authenticator.get(formOf(again, "passkey").passkey ?? "") })).status).toBe(
      403,
    );
  });
});
