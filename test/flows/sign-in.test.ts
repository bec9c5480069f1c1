import { hash, randomBytes } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { allScopes } from "../../src/core/scope.ts";
import { hotp } from "../../src/crypto/totp.ts";
import type { Browser, Seen } from "./browser.ts";
import { createBrowser, formOf } from "./browser.ts";
import type { PeopleStore, TestProvider } from "./sign-in-house.ts";
import { openPeopleStore, openProvider, operator } from "./sign-in-house.ts";

const password = "four quiet horses";
const web = { grant_types: ["authorization_code"], response_types: ["code" as const], token_endpoint_auth_method: "none" as const };
const clients = [
  { client_id: "known", client_name: "Known", redirect_uris: ["https://known.example/back"], source: "operator" as const, ...web },
  { client_id: "stranger", client_name: "Known", redirect_uris: ["https://stranger.example/back"], ...web },
  {
    client_id: "desktop",
    client_name: "Desktop",
    redirect_uris: ["http://127.0.0.1:4000/back"],
    source: "operator" as const,
    ...web,
    application_type: "native" as const,
  },
  {
    client_id: "https://imitator.example/client.json",
    client_name: "Known",
    redirect_uris: ["http://localhost:4001/back"],
    source: "cimd" as const,
    ...web,
  },
  {
    client_id: "television",
    client_name: "Television",
    redirect_uris: [],
    response_types: [],
    grant_types: ["urn:ietf:params:oauth:grant-type:device_code"],
    token_endpoint_auth_method: "none" as const,
  },
];

let store: PeopleStore;
let house: TestProvider;
let browser: Browser;

beforeEach(async () => {
  store = await openPeopleStore();
  house = await openProvider(store, { clients });
  browser = createBrowser(house.publicUrl);
});
afterEach(async () => {
  await house.close();
  await store.close();
});

/** A member with a password, enrolled as people are. */
async function member(name = "ada"): Promise<string> {
  const account = await store.users.add({ name, role: "member" }, operator);
  if (account === "taken") throw new Error("taken");
  const { token } = await store.users.invite(account.account, operator);
  await store.users.enrol(token, account, { password }, "127.0.0.1");
  return account.account;
}

const verifier = randomBytes(32).toString("base64url");

function authorize(client: string, more: Readonly<Record<string, string>> = {}): string {
  const { redirect_uris: [redirect = ""] = [] } = clients.find((one) => one.client_id === client) ?? {};
  const challenge = hash("sha256", verifier, "base64url");
  const parameters = {
    client_id: client,
    response_type: "code",
    redirect_uri: redirect,
    scope: "leases:write use:sql",
    state: "s",
    code_challenge: challenge,
    code_challenge_method: "S256",
  };
  return `/oauth/authorize?${new URLSearchParams({ ...parameters, ...more }).toString()}`;
}

async function signIn(page: Seen, name = "ada", given = password): Promise<Seen> {
  return browser.submit(page, "password", { name, password: given });
}

async function tokensFor(client: string, back: URL): Promise<Readonly<Record<string, unknown>>> {
  const body = new URLSearchParams({
    grant_type: "authorization_code",
    client_id: client,
    code: back.searchParams.get("code") ?? "",
    redirect_uri: `${back.origin}${back.pathname}`,
    code_verifier: verifier,
  });
  const response = await fetch(`${house.publicUrl}/oauth/token`, { method: "POST", body });
  return (await response.json()) as Record<string, unknown>;
}

const kinds = async (): Promise<readonly unknown[]> => (await store.events()).map((event) => event["kind"]);

describe("signing in to consent", () => {
  it("leads from a client's request to a code with `iss`, for exactly what was left ticked (RFC 6749 section 3.3, RFC 9207)", async () => {
    const account = await member();
    const signInPage = await browser.open(authorize("known"));
    expect(signInPage.status).toBe(200);
    const consent = await signIn(signInPage);
    expect(consent.text).toContain("Allow this app?");
    expect(consent.text).toContain("borrow credentials, and renew and return them");
    expect(consent.text).toContain("data-retrieval");
    const back = await browser.submit(consent, "allow", { scope: "use:sql" });
    expect(back.url.origin).toBe("https://known.example");
    expect(back.url.searchParams.get("iss")).toBe(house.publicUrl);
    expect(await tokensFor("known", back.url)).toMatchObject({ scope: "use:sql" });
    const events = await store.events();
    expect(events.slice(-2)).toMatchObject([
      { kind: "user.signed-in", user: account, method: "password", actor: { type: "user", user: account, name: "ada", ip: "127.0.0.1" } },
      { kind: "consent.given", user: account, client: "known", agent: "known", scope: "use:sql" },
    ]);
  });

  it("refusing says so to the client, with `iss` (RFC 6749 section 4.1.2.1, RFC 9207)", async () => {
    await member();
    const consent = await signIn(await browser.open(authorize("known")));
    const back = await browser.submit(consent, "refuse");
    expect(Object.fromEntries(back.url.searchParams)).toMatchObject({ error: "access_denied", state: "s", iss: house.publicUrl });
    expect((await kinds()).at(-1)).toBe("consent.refused");
  });

  it("so does leaving without signing in", async () => {
    const back = await browser.submit(await browser.open(authorize("known")), "cancel");
    expect(Object.fromEntries(back.url.searchParams)).toMatchObject({ error: "access_denied", iss: house.publicUrl });
  });

  it("nothing ticked is no consent, and what implies something unticked goes with it", async () => {
    await member();
    const consent = await signIn(await browser.open(authorize("known", { scope: allScopes.join(" ") })));
    const again = await browser.submit(consent, "allow", { scope: [] });
    expect(again.status).toBe(400);
    const left = allScopes.filter((scope) => scope !== "use:http" && scope !== "leases:read");
    const back = await browser.submit(again, "allow", { scope: left });
    const { scope } = await tokensFor("known", back.url);
    expect(String(scope).split(" ").sort()).toEqual(["credentials:read", "use:sql"]);
  });

  it("a box that was not on the page is not granted", async () => {
    await member();
    const consent = await signIn(await browser.open(authorize("known", { scope: "use:sql" })));
    const back = await browser.submit(consent, "allow", { scope: ["use:sql", "use", "leases:write"] });
    expect(await tokensFor("known", back.url)).toMatchObject({ scope: "use:sql" });
  });

  it("OA-12 consent is remembered for a person and a client: another client of the same name asks again", async () => {
    await member();
    const first = await signIn(await browser.open(authorize("known")));
    expect((await browser.submit(first, "allow")).url.searchParams.has("code")).toBe(true);
    expect((await browser.open(authorize("known"))).url.searchParams.has("code")).toBe(true);
    const other = await browser.open(authorize("stranger"));
    expect(other.text).toContain("Allow this app?");
    expect(other.text).toContain("not verified");
    expect(other.text).toContain("stranger.example");
    // More than was allowed before is asked for again, too.
    expect((await browser.open(authorize("known", { scope: "leases:write use" }))).text).toContain("Allow this app?");
  });

  it("OA-12 another person in the same browser has allowed nothing", async () => {
    await member();
    await member("grace");
    await browser.submit(await signIn(await browser.open(authorize("known"))), "allow");
    const asked = await browser.open(authorize("known", { prompt: "login" }));
    const consent = await signIn(asked, "grace");
    expect(consent.text).toContain("grace");
    expect(consent.text).toContain("Allow this app?");
  });

  it("OA-23 a client that is reached on this computer is asked about every time, with a warning (RFC 8252 section 8.6)", async () => {
    await member();
    await browser.submit(await signIn(await browser.open(authorize("https://imitator.example/client.json"))), "allow");
    const again = await browser.open(authorize("https://imitator.example/client.json"));
    expect(again.text).toContain("on the computer in front of you");
    expect(again.text).toContain("imitator.example");
    expect(again.text).toContain("(not verified)");
    await browser.submit(again, "allow");
    await browser.submit(await browser.open(authorize("desktop")), "allow");
    expect((await browser.open(authorize("desktop"))).text).toContain("Allow this app?");
  });

  it("what cannot be written down is not allowed (503)", async () => {
    await member();
    const consent = await signIn(await browser.open(authorize("known")));
    const other = new DatabaseSync(store.file);
    other.exec("BEGIN IMMEDIATE");
    expect((await browser.submit(consent, "allow")).status).toBe(503);
    other.close();
    expect(house.granted()).toBe(0);
    expect((await browser.submit(consent, "allow")).url.searchParams.has("code")).toBe(true);
  });

  it("somebody else can sign in instead", async () => {
    await member();
    await member("grace");
    const consent = await signIn(await browser.open(authorize("known")));
    const signInPage = await browser.submit(consent, "switch");
    expect(signInPage.text).toContain("Sign in");
    expect((await signIn(signInPage, "grace")).text).toContain("grace");
  });
});

describe("forms from elsewhere", () => {
  it("OA-13 without the token of the page: 403, and nothing happens", async () => {
    await member();
    const consent = await signIn(await browser.open(authorize("known")));
    for (const csrf of [undefined, "", "x".repeat(43), "€"]) {
      const refused = await browser.submit(consent, "allow", { csrf });
      expect(refused.status).toBe(403);
    }
    expect(await kinds()).not.toContain("consent.given");
  });

  it("OA-13 from a foreign origin, or none that can be named: 403", async () => {
    await member();
    const consent = await signIn(await browser.open(authorize("known")));
    for (const origin of ["https://evil.example", "null", house.publicUrl.replace("http:", "https:"), "http://localhost:1"])
      expect((await browser.submit(consent, "allow", {}, { origin })).status).toBe(403);
    expect((await browser.submit(consent, "allow", {}, { "sec-fetch-site": "cross-site" })).status).toBe(403);
    expect(await kinds()).not.toContain("consent.given");
    // This machine under its other name.
    const alias = house.publicUrl.replace("localhost", "127.0.0.1");
    expect((await browser.submit(consent, "allow", {}, { origin: alias })).url.searchParams.has("code")).toBe(true);
  });

  it("OA-13 the token of one sign-in opens no other, and a page belongs to the browser that began", async () => {
    await member();
    const first = await signIn(await browser.open(authorize("known")));
    const second = await browser.open(authorize("stranger"));
    const csrf = formOf(first, "allow").fields.find(([name]) => name === "csrf")?.[1];
    expect((await browser.submit(second, "allow", { csrf })).status).toBe(403);
    const thief = createBrowser(house.publicUrl);
    expect((await thief.open(second.url.href)).status).toBe(403);
    expect((await thief.submit(second, "allow")).status).toBe(403);
    // Nor does the cookie of one open the page of another.
    await thief.open(authorize("known"));
    thief.take(thief.cookies().map((cookie) => ({ ...cookie, path: "/" })));
    expect((await thief.open(second.url.href)).status).toBe(403);
  });

  it("OA-13 no page can be framed, cached or lead elsewhere (RFC 6749 section 10.13)", async () => {
    await member();
    const page = await browser.open(authorize("desktop"));
    const consent = await signIn(page);
    for (const { headers } of [page, consent]) {
      const policy = headers.get("content-security-policy") ?? "";
      expect(policy).toMatch(/^default-src 'none'; style-src 'sha256-/);
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).toContain("form-action 'self' http://127.0.0.1:4000;");
      expect(policy).not.toContain("unsafe");
      expect(headers.get("x-frame-options")).toBe("DENY");
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      // `no-referrer` would have browsers send `Origin: null` with the form.
      expect(headers.get("referrer-policy")).toBe("same-origin");
    }
    expect(consent.headers.get("content-security-policy")).not.toContain("script-src");
  });

  it("too much, another type, and other methods are turned away", async () => {
    const page = await browser.open(authorize("known"));
    expect((await browser.submit(page, "password", { name: "x".repeat(20_000) })).status).toBe(413);
    expect((await browser.submit(page, "password", {}, { "content-type": "text/plain" })).status).toBe(415);
    expect((await fetch(page.url, { method: "DELETE" })).status).toBe(405);
    expect((await fetch(`${house.publicUrl}/oauth/interaction/..%2f`)).status).toBe(403);
  });
});

describe("passwords", () => {
  it("unknown names, wrong passwords and closed accounts are told apart by nobody", async () => {
    const account = await member();
    await member("closed");
    const closed = await store.users.byName("closed");
    await store.users.change(closed?.account ?? "", "user.disabled", operator);
    const said = new Set<string>();
    for (const [name, given] of [
      ["ada", "wrong"],
      ["nobody", password],
      ["closed", password],
      ["'; --", ""],
    ] as const) {
      const page = await signIn(await browser.open(authorize("known")), name, given);
      expect(page.status).toBe(401);
      said.add(/role="alert">([^<]*)/.exec(page.text)?.[1] ?? "");
    }
    expect(said.size).toBe(1);
    house.people.flush();
    expect(await store.events()).toEqual(
      expect.arrayContaining([expect.objectContaining({ kind: "user.refused", user: account, why: "password", count: 1 })]),
    );
  });

  it("guessing is slowed down for the name and counted in sums; a correct password later works, and clears it", async () => {
    await member();
    let page = await browser.open(authorize("known"));
    for (let guess = 0; guess < 6; guess += 1) page = await signIn(page, "ada", `guess ${guess}`);
    expect(page.status).toBe(429);
    expect(page.headers.get("retry-after")).toBe("1");
    expect((await signIn(page)).status).toBe(429);
    store.clock.ahead = 1_100;
    expect((await signIn(page)).text).toContain("Allow this app?");
    house.people.flush();
    const refusals = (await store.events()).filter((event) => event["kind"] === "user.refused");
    expect(refusals.map(({ why, count }) => [why, count])).toEqual(
      expect.arrayContaining([
        ["password", 1],
        ["password", 4],
      ]),
    );
    expect(refusals.length).toBeLessThanOrEqual(4);
  });

  it("fifty guesses at once are fifty, not one", async () => {
    await member();
    const page = await browser.open(authorize("known"));
    const answers = await Promise.all(Array.from({ length: 50 }, (_, guess) => signIn(page, "ada", `guess ${guess}`)));
    expect(answers.filter(({ status }) => status === 401).length).toBeLessThanOrEqual(5);
  });

  it("operators need a code as well, once each (RFC 6238 section 5.2)", async () => {
    const account = await store.users.add({ name: "op", role: "operator" }, operator);
    if (account === "taken") throw new Error("taken");
    const { token } = await store.users.invite(account.account, operator);
    const page = await browser.open(`/oauth/enroll/${token}`);
    const key = formOf(page, "password").fields.find(([name]) => name === "key")?.[1] ?? "";
    const code = (steps = 0) => hotp(base32(key), Math.floor(store.now() / 30_000) + steps);
    const form = { password, again: password };
    expect((await browser.submit(page, "password", { ...form, code: "" })).status).toBe(400);
    expect((await browser.submit(page, "password", { ...form, code: "000000" })).status).toBe(400);
    const done = await browser.submit(page, "password", { ...form, code: code() });
    expect(done.text).toContain("You are set up");
    expect((await kinds()).slice(-2)).toEqual(["user.enrolled", "user.enrolled"]);

    const ask = async (given: string) =>
      browser.submit(await browser.open(authorize("known")), "password", { name: "op", password, code: given });
    expect((await ask("")).status).toBe(401);
    expect((await ask(code())).status).toBe(401);
    store.clock.ahead = 31_000;
    expect((await ask(code())).text).toContain("Allow this app?");
    const other = createBrowser(house.publicUrl);
    const replay = await other.submit(await other.open(authorize("known")), "password", { name: "op", password, code: code() });
    expect(replay.status).toBe(401);
  });
});

describe("enrolment links", () => {
  it("looking uses nothing up; of many that answer at once, one succeeds", async () => {
    const account = await store.users.add({ name: "ada", role: "member" }, operator);
    if (account === "taken") throw new Error("taken");
    const { token } = await store.users.invite(account.account, operator);
    const page = await browser.open(`/oauth/enroll/${token}`);
    await browser.open(`/oauth/enroll/${token}`);
    const form = { password, again: password, code: "" };
    const answers = await Promise.all(Array.from({ length: 20 }, () => browser.submit(page, "password", form)));
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([200, ...Array.from({ length: 19 }, () => 404)]);
    expect((await browser.open(`/oauth/enroll/${token}`)).status).toBe(404);
    const [row] = await store.database.read.selectFrom("enrolments").selectAll().execute();
    expect(Buffer.from(row?.digest ?? []).toString("base64url")).not.toBe(token);
  });

  it("end when a newer one is made, with time, and with the account", async () => {
    const account = await store.users.add({ name: "ada", role: "member" }, operator);
    if (account === "taken") throw new Error("taken");
    const first = await store.users.invite(account.account, operator);
    const second = await store.users.invite(account.account, operator);
    expect((await browser.open(`/oauth/enroll/${first.token}`)).status).toBe(404);
    expect((await browser.open(`/oauth/enroll/${second.token}`)).status).toBe(200);
    await store.users.change(account.account, "user.disabled", operator);
    expect((await browser.open(`/oauth/enroll/${second.token}`)).status).toBe(404);
    await store.users.change(account.account, "user.enabled", operator);
    store.clock.ahead = 24 * 3_600_000 + 1;
    expect((await browser.open(`/oauth/enroll/${second.token}`)).status).toBe(404);
    expect((await browser.open(`/oauth/enroll/${"A".repeat(43)}`)).status).toBe(404);
  });

  it("passwords that anybody would try are refused, with the reason", async () => {
    const account = await store.users.add({ name: "ada.lovelace", role: "member" }, operator);
    if (account === "taken") throw new Error("taken");
    const { token } = await store.users.invite(account.account, operator);
    const page = await browser.open(`/oauth/enroll/${token}`);
    for (const [given, said] of [
      ["short", "at least 12"],
      ["password1234", "first that anybody"],
      ["ada.lovelace1", "your name"],
      ["aaaaaaaaaaaa", "first that anybody"],
    ]) {
      const answer = await browser.submit(page, "password", { password: given, again: given });
      expect(answer.status).toBe(400);
      expect(answer.text).toContain(said);
    }
    expect((await browser.submit(page, "password", { password, again: "another one of them" })).text).toContain("differ");
  });
});

describe("an account that is closed", () => {
  it("frozen, disabled or signed out, its browser has to sign in again, and cannot", async () => {
    const account = await member();
    await browser.submit(await signIn(await browser.open(authorize("known"))), "allow");
    expect((await browser.open(authorize("known"))).url.searchParams.has("code")).toBe(true);
    await store.users.change(account, "user.sessions-ended", operator);
    const asked = await browser.open(authorize("known"));
    expect(asked.text).toContain("Sign in first");
    expect((await signIn(asked)).url.searchParams.has("code")).toBe(true);
    await store.users.change(account, "user.frozen", operator);
    const frozen = await browser.open(authorize("known"));
    expect(frozen.text).toContain("Sign in first");
    expect((await signIn(frozen)).status).toBe(401);
  });

  it("between sign-in and consent: nothing is granted", async () => {
    const account = await member();
    const consent = await signIn(await browser.open(authorize("known")));
    await store.users.change(account, "user.disabled", operator);
    expect((await browser.submit(consent, "allow")).status).toBe(403);
    expect(await kinds()).not.toContain("consent.given");
  });

  it("a code that is out already is worth nothing", async () => {
    const account = await member();
    const back = await browser.submit(await signIn(await browser.open(authorize("known"))), "allow");
    await store.users.change(account, "user.sessions-ended", operator);
    expect(await tokensFor("known", back.url)).toMatchObject({ error: "invalid_grant" });
  });

  it("a sign-in in the browser lasts as long as it may, however busy it is", async () => {
    await member();
    await browser.submit(await signIn(await browser.open(authorize("known"))), "allow");
    store.clock.ahead = 3_601_000;
    expect((await browser.open(authorize("known"))).text).toContain("Sign in first");
  });
});

describe("devices", () => {
  async function device(): Promise<{ user_code: string; device_code: string; verification_uri: string }> {
    const response = await fetch(`${house.publicUrl}/oauth/device_authorization`, {
      method: "POST",
      body: new URLSearchParams({ client_id: "television", scope: "use:sql leases:read" }),
    });
    return (await response.json()) as Awaited<ReturnType<typeof device>>;
  }

  async function poll(code: string): Promise<Readonly<Record<string, unknown>>> {
    const body = new URLSearchParams({
      grant_type: "urn:ietf:params:oauth:grant-type:device_code",
      client_id: "television",
      device_code: code,
    });
    const response = await fetch(`${house.publicUrl}/oauth/token`, { method: "POST", body });
    return (await response.json()) as Record<string, unknown>;
  }

  it("are shown with their code and who asks before anything else (RFC 8628 sections 3.3 and 5.4)", async () => {
    await member();
    const { user_code: code, device_code: secret, verification_uri: uri } = await device();
    const typing = await browser.open(uri);
    const confirm = await browser.submit(typing, "", { user_code: code.toLowerCase() });
    expect(confirm.text).toContain(code);
    expect(confirm.text).toContain("Television");
    expect(confirm.text).toContain("127.0.0.1");
    expect(confirm.headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
    const consent = await signIn(await browser.submit(confirm, "", { confirm: "yes" }));
    expect(consent.text).toContain("only if you started this yourself");
    expect(await poll(secret)).toMatchObject({ error: "authorization_pending" });
    const done = await browser.submit(consent, "allow", { scope: "use:sql" });
    expect(done.text).toContain("Connected");
    expect(await poll(secret)).toMatchObject({ scope: "use:sql" });
  });

  it("refused ones get no access; a wrong code says no more than that", async () => {
    const { user_code: code, device_code: secret, verification_uri: uri } = await device();
    const wrong = await browser.submit(await browser.open(uri), "", { user_code: "BBBB-BBBB" });
    expect(wrong.text).toContain("This code is not good");
    const confirm = await browser.submit(wrong, "", { user_code: code });
    expect((await browser.submit(confirm, "", { abort: "yes" })).text).toContain("Refused");
    expect(await poll(secret)).toMatchObject({ error: "access_denied" });
    await member();
    const next = await device();
    const asked = await browser.submit(await browser.submit(await browser.open(uri), "", { user_code: next.user_code }), "", {
      confirm: "yes",
    });
    await browser.submit(await signIn(asked), "refuse");
    expect(await poll(next.device_code)).toMatchObject({ error: "access_denied" });
  });
});

describe("a person's own page", () => {
  it("shows what acts for them, and disconnects it", async () => {
    await member();
    const page = await browser.open("/oauth/account");
    expect((await browser.submit(page, "password", { name: "ada", password: "wrong" })).status).toBe(401);
    const empty = await signIn(page);
    expect(empty.text).toContain("Your account");
    await browser.submit(await browser.open(authorize("known")), "allow");
    const account = await browser.open("/oauth/account");
    expect(account.text).toContain("Known");
    expect(account.text).toContain("leases:write, use:sql");
    await browser.submit(account, "disconnect");
    expect(house.ended).toHaveLength(1);
    expect((await browser.open("/oauth/account")).text).not.toContain("leases:write");
    expect((await browser.open(authorize("known"))).text).toContain("Allow this app?");
  });

  it("OA-13 takes nothing from elsewhere, and signs out", async () => {
    await member();
    const account = await signIn(await browser.open("/oauth/account"));
    expect((await browser.submit(account, "sign-out", { csrf: "x".repeat(43) })).status).toBe(403);
    const other = await createBrowser(house.publicUrl).open("/oauth/account");
    const csrf = formOf(other, "password").fields.find(([name]) => name === "csrf")?.[1];
    expect((await browser.submit(account, "sign-out", { csrf })).status).toBe(403);
    const asked = await browser.open("/oauth/sign-out");
    expect((await browser.submit(asked, "sign-out")).text).toContain("Signed out");
    expect((await browser.open("/oauth/account")).text).toContain("Sign in");
    expect((await browser.open(authorize("known"))).text).toContain("Sign in first");
  });

  it("a new sign-in has a new id: one that was planted before is worth nothing", async () => {
    await member();
    const grace = await member("grace");
    const thief = createBrowser(house.publicUrl);
    await thief.submit(await thief.open("/oauth/account"), "password", { name: "grace", password });
    browser.take(thief.cookies());
    await store.users.change(grace, "user.sessions-ended", operator);
    expect((await signIn(await browser.open("/oauth/account"))).text).toContain("<dd>ada</dd>");
    expect((await thief.open("/oauth/account")).text).not.toContain("<dd>ada</dd>");
  });
});

function base32(text: string): Buffer {
  const bits = Array.from(text, (one) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(one).toString(2).padStart(5, "0")).join("");
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}
