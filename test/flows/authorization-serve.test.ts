import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { perform, workbench } from "../cli/script.ts";
import type { Answer, Fields } from "./authorization-house.ts";
import { basic, challengeOf, clientsOf, openAuthorizationHouse, rawRequest, redirect, tokensOf } from "./authorization-house.ts";
import { freePort } from "./documents.ts";
import { createPerson, newPassword } from "./person.ts";

describe("leasehold serve", () => {
  let bench: Awaited<ReturnType<typeof workbench>>;
  let broker: ChildProcess;
  let url = "";
  let output = "";
  let secret = "";
  const run = async (line: string) => (await perform(`leasehold ${line}`, bench.folder, {})).output.join("\n");

  beforeAll(async () => {
    bench = await workbench();
    url = `http://127.0.0.1:${await freePort()}`;
    await run("init");
    const file = join(bench.folder, "leasehold.yaml");
    const text = await readFile(file, "utf8");
    const server = `server: { listen: "${url.slice("http://".length)}", publicUrl: "${url}" }\n`;
    await writeFile(file, `${server}${text.replace(/^server:[^\n]*\n(?:[ ]+[^\n]*\n)*/m, "")}`);
    secret = (await run("agent add svc --role r --secret 2>/dev/null")).trim();
    await run(`agent add app --role r --redirect-uri ${redirect}`);
    broker = spawn(join(bench.folder, "..", "bin", "leasehold"), ["serve"], { cwd: bench.folder, stdio: ["ignore", "pipe", "pipe"] });
    const started = Promise.withResolvers<void>();
    for (const stream of [broker.stdout, broker.stderr])
      stream?.on("data", (chunk: Buffer) => {
        output += chunk.toString();
        if (output.includes(url)) started.resolve();
      });
    broker.once("exit", () => started.reject(new Error(output)));
    await started.promise;
  }, 60_000);
  afterAll(async () => {
    broker.kill("SIGTERM");
    await once(broker, "exit");
    await bench.remove();
  });

  it("the authorization server says nothing on its own, whatever is asked of it", { timeout: 60_000 }, async () => {
    const before = output;
    const { send, token, get, refresh } = clientsOf({ url, mcp: `${url}/mcp` });
    const link = /\/oauth\/enroll\/\S+/.exec(await run("user add ada"))?.[0] ?? "";
    const ada = createPerson({ home: url, name: "ada", password: newPassword() });
    await ada.enrol(link);

    const verifier = "v".repeat(43);
    const asked = new URLSearchParams({
      client_id: "app",
      response_type: "code",
      redirect_uri: redirect,
      code_challenge: challengeOf(verifier),
      code_challenge_method: "S256",
      scope: "openid offline_access use:http",
      prompt: "consent",
    });
    const back = await ada.authorize(`${url}/oauth/authorize?${asked.toString()}`);
    const code = back.searchParams.get("code") ?? "";
    const fields = { grant_type: "authorization_code", code, code_verifier: verifier, redirect_uri: redirect, client_id: "app" };
    const tokens = tokensOf((await token(fields)).body);
    expect(tokens.access_token).not.toBe("");

    const svc = { authorization: basic("svc", secret) };
    const own = tokensOf((await token({ grant_type: "client_credentials" }, svc)).body).access_token;
    const device = (await send("/oauth/device_authorization", { client_id: "app" })).body;
    await ada.connect(String(device["verification_uri"]), String(device["user_code"]));
    const exchange: Fields = { subject_token: own, subject_token_type: "urn:ietf:params:oauth:token-type:access_token" };
    const answers: readonly Answer[] = [
      await refresh(tokens.refresh_token),
      await token({
        grant_type: "urn:ietf:params:oauth:grant-type:device_code",
        device_code: String(device["device_code"]),
        client_id: "app",
      }),
      await token({ grant_type: "urn:ietf:params:oauth:grant-type:token-exchange", ...exchange }),
      await token({ grant_type: "urn:ietf:params:oauth:grant-type:token-exchange", ...exchange }, svc),
      await send("/oauth/introspect", { token: own }, svc),
      await send("/oauth/revoke", { token: own }, svc),
      await send("/oauth/par", Object.fromEntries(asked)),
      await get("/oauth/jwks"),
      await get("/oauth/jwks", { origin: "https://elsewhere.example" }),
      await token(fields, { origin: "https://elsewhere.example" }),
      await get("/.well-known/openid-configuration"),
      await get("/oauth/nothing"),
      await get("/oauth/userinfo"),
      await send("/oauth/par", { client_id: "nobody" }),
      await token({}),
    ];
    expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
    expect(answers.slice(0, 2).map(({ status }) => status)).toEqual([200, 200]);
    const registered = await fetch(`${url}/oauth/register`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ client_name: "Loopback", redirect_uris: ["http://127.0.0.1:1/x"], token_endpoint_auth_method: "none" }),
    });
    expect(registered.status).toBe(201);
    await pause(100);
    expect(output.slice(before.length)).not.toMatch(/oidc-provider|NOTICE|WARNING|Warning/);
    expect(output).not.toMatch(/oidc-provider/);
  });
});

describe("cookies", () => {
  const cookiesOf = (headers: Headers) =>
    headers.getSetCookie().map((line) => {
      const [pair = "", ...attributes] = line.split(/; */);
      const rest = attributes.map((one) => one.toLowerCase());
      return { name: pair.split("=", 1)[0] ?? "", value: pair.slice(pair.indexOf("=") + 1), attributes: rest };
    });

  it.each([["https"], ["http"]] as const)("of %s issuers have the names and flags that keep them where they belong", async (scheme) => {
    const house = await openAuthorizationHouse({ scheme });
    const { port, host } = new URL(house.url);
    const seen = new Map<string, readonly string[]>();
    const jar = new Map<string, string>();
    const ask = async (path: string, body?: URLSearchParams) => {
      const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
      const form = body ? { "content-type": "application/x-www-form-urlencoded", origin: house.url } : {};
      const answer = await rawRequest(Number(port), path, {
        method: body ? "POST" : "GET",
        headers: { host, accept: "text/html", ...(cookie === "" ? {} : { cookie }), ...form },
        ...(body ? { body: body.toString() } : {}),
      });
      for (const { name, value, attributes } of cookiesOf(answer.headers)) {
        if (value !== "") seen.set(name, attributes);
        if (value !== "") jar.set(name, value);
      }
      return answer;
    };
    const pathOf = (location: string | null) => new URL(location ?? "", house.url).href.slice(new URL(house.url).origin.length);
    const fieldsOf = (page: string) =>
      new URLSearchParams(
        Object.fromEntries(
          [...page.matchAll(/<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"/g)].map(([, name = "", value = ""]) => [name, value]),
        ),
      );

    const account = await house.house.users.add({ name: "ada", role: "member" }, { type: "operator", name: "test" });
    if (account === "taken") throw new Error("taken");
    const { token: invited } = await house.house.users.invite(account.account, { type: "operator", name: "test" });
    const enrolment = `/oauth/enroll/${invited}`;
    const enrolling = fieldsOf((await ask(enrolment)).text);
    const password = newPassword();
    for (const [name, value] of [
      ["do", "password"],
      ["password", password],
      ["again", password],
    ] as const)
      enrolling.set(name, value);
    expect((await ask(enrolment, enrolling)).text).toContain("You are set up");

    const begun = await ask(house.asking().url.href.slice(house.url.length));
    expect(begun.status).toBe(303);
    const interaction = pathOf(begun.headers.get("location"));
    const form = fieldsOf((await ask(interaction)).text);
    for (const [name, value] of [
      ["do", "password"],
      ["name", "ada"],
      ["password", password],
    ] as const)
      form.set(name, value);
    form.delete("scope");
    const entered = await ask(interaction, form);
    expect([entered.status, entered.text]).toEqual([303, ""]);
    await ask(pathOf(entered.headers.get("location")));

    const secure = scheme === "https";
    expect(
      [...seen.keys()].some((name) => name === (secure ? "__Host-leasehold" : "leasehold")),
      [...seen.keys()].join(" "),
    ).toBe(true);
    for (const [name, attributes] of seen) {
      expect(attributes, name).toEqual(expect.arrayContaining(["httponly", "samesite=lax"]));
      expect(attributes.includes("secure"), name).toBe(secure);
      expect(
        attributes.some((one) => one.startsWith("domain=")),
        name,
      ).toBe(false);
      if (secure) expect(name, name).toMatch(/^__(?:Host|Secure)-leasehold/);
      if (name.startsWith("__Host-")) expect(attributes, name).toContain("path=/");
    }
    await house.close();
  });
});
