import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allScopes } from "../../src/core/scope.ts";
import { canMakeCertificates, createAuthority, issue } from "./certificates.ts";
import type { DesktopClient } from "./desktop-client.ts";
import { createDesktopClient } from "./desktop-client.ts";
import type { OAuthHouse } from "./oauth-house.ts";
import { operator, serveOAuthHouse } from "./oauth-house.ts";
import type { Person } from "./person.ts";

let house: OAuthHouse;
let ada: Person;
let program: DesktopClient;

beforeAll(async () => {
  house = await serveOAuthHouse();
  ada = await house.person();
  program = createDesktopClient(house.url, ada);
});
afterAll(() => house?.close());

/** A program that waits for the browser, at a port and a path of the moment. */
async function listener() {
  const path = `/callback/${randomBytes(9).toString("base64url")}`;
  const called = Promise.withResolvers<URL>();
  const server = createServer((request, response) => {
    response.end("Signed in. You can close this page.");
    called.resolve(new URL(request.url ?? "", redirectUri));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const redirectUri = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}${path}`;
  return { redirectUri, called: called.promise, close: () => server.close() };
}

describe("Codex", () => {
  it("RFC 8252 §7.3: registers anew for each login, with a loopback port and path of the moment, and is another agent each time", async () => {
    const agents = new Set<unknown>();
    for (const _ of [1, 2]) {
      const { redirectUri, called, close } = await listener();
      const client = await program.registered({ client_name: "Codex", redirect_uris: [redirectUri] });
      const { url, redeem } = program.login(client, redirectUri, { resource: house.mcp });
      expect(await ada.deliver(url)).toContain("Signed in");
      agents.add((await program.whoami(await redeem(await called)))["agent"]);
      close();
    }
    expect(agents.size).toBe(2);
  });

  it("OA-01: the path of one login is no good for another, whatever the port", async () => {
    const client = await program.registered({ client_name: "Codex", redirect_uris: ["http://127.0.0.1:49152/callback/abc"] });
    await expect(ada.authorize(program.login(client, "http://127.0.0.1:49152/callback/abd").url)).rejects.toThrow("leads nowhere (400)");
  });
});

describe("Cursor", () => {
  const uris = [
    "cursor://anysphere.cursor-mcp/oauth/callback",
    "https://www.cursor.com/agents/mcp/oauth/callback",
    "http://localhost:8787/callback",
  ] as const;

  it("registers its three redirect URIs at once, and signs in through each", async () => {
    const client = await program.registered({ client_name: "Cursor", redirect_uris: uris });
    for (const uri of uris)
      expect(await program.whoami(await program.signIn(client, uri, { resource: house.mcp }))).toMatchObject({ agent: client });
  });

  it.each([
    "cursor://evil/oauth/callback",
    "cursor://anysphere.cursor-mcp/oauth/callback2",
    "vscode://anysphere.cursor-mcp/oauth/callback",
  ])("OA-02: %s beside the others spoils the registration", async (odd) => {
    expect(await program.register({ client_name: "Cursor", redirect_uris: [...uris, odd] })).toMatchObject({
      status: 400,
      body: { error: "invalid_redirect_uri" },
    });
  });
});

describe("VS Code", () => {
  it("RFC 8252 §7.3: registers the loopback without a port, and signs in at any", async () => {
    const redirect_uris = ["http://127.0.0.1/", "http://127.0.0.1:33418/", "https://vscode.dev/redirect"];
    const client = await program.registered({ client_name: "Visual Studio Code", redirect_uris });
    for (const uri of ["http://127.0.0.1:50123/", "http://127.0.0.1:33418/", "https://vscode.dev/redirect"])
      expect(await program.whoami(await program.signIn(client, uri))).toMatchObject({ agent: client });
    await expect(ada.authorize(program.login(client, "https://vscode.dev:8443/redirect").url)).rejects.toThrow("leads nowhere (400)");
  });
});

describe("Claude Code", () => {
  it("RFC 8707 §2: registers without scope, names the resource with a slash at its end, and its token is for the one resource", async () => {
    const client = await program.registered({ client_name: "Claude Code (leasehold)", redirect_uris: ["http://localhost:3118/callback"] });
    for (const resource of [`${house.url}/`, `${house.mcp}/`, house.mcp]) {
      const body = await program.signIn(client, "http://localhost:52331/callback", { resource });
      expect(decodeJwt(String(body["access_token"])).aud).toBe(house.mcp);
      expect(await program.whoami(body)).toMatchObject({ agent: client, scopes: [...allScopes] });
      const { body: renewed } = await program.token({
        grant_type: "refresh_token",
        client_id: client,
        refresh_token: String(body["refresh_token"]),
        resource,
      });
      expect(decodeJwt(String(renewed["access_token"])).aud).toBe(house.mcp);
    }
  });

  it("RFC 8707 §2: another's resource is refused; the person is told, and is not sent to where a stranger says", async () => {
    const client = await program.registered({ client_name: "Claude Code", redirect_uris: ["http://localhost:3118/callback"] });
    const { url } = program.login(client, "http://localhost:3118/callback", { resource: "https://other.example/mcp" });
    const answer = await fetch(url, { redirect: "manual", headers: { accept: "text/html" } });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain("invalid_target");
  });
});

describe("Claude and ChatGPT on the web", () => {
  it.each([
    ["Claude", "https://claude.ai/api/mcp/auth_callback"],
    ["ChatGPT", "https://chatgpt.com/connector_platform_oauth_redirect"],
  ])("%s signs in, and when it connects again without saying for what, gets no more than its person left it", async (name, redirectUri) => {
    const client = await program.registered({ client_name: name, redirect_uris: [redirectUri], token_endpoint_auth_method: "none" });
    const first = program.login(client, redirectUri, { scope: allScopes.join(" "), resource: house.mcp });
    const narrowed = await first.redeem(await ada.authorize(first.url, { without: ["use", "use:sql"] }));
    expect(await program.whoami(narrowed)).toMatchObject({ scopes: allScopes.filter((scope) => scope !== "use" && scope !== "use:sql") });

    const again = program.login(client, redirectUri);
    const body = await again.redeem(await ada.authorize(again.url, { without: ["use", "use:sql"] }));
    expect(await program.whoami(body)).toMatchObject({ agent: client, scopes: expect.not.arrayContaining(["use:sql"]) });
  });

  it("RFC 9207 §2: a person who refuses is sent back with the error", async () => {
    const redirectUri = "https://claude.ai/api/mcp/auth_callback";
    const client = await program.registered({ client_name: "Claude", redirect_uris: [redirectUri] });
    const back = await ada.authorize(program.login(client, redirectUri).url, { refuse: true });
    expect(Object.fromEntries(back.searchParams)).toMatchObject({ error: "access_denied", iss: house.url });
  });
});

describe("a client whose registration is gone", () => {
  it("RFC 6749 §5.2: gets 401 invalid_client, which makes it register again", async () => {
    const redirectUri = "http://localhost:3118/callback";
    const client = await program.registered({ client_name: "Claude Code", redirect_uris: [redirectUri] });
    const { refresh_token: held } = await program.signIn(client, redirectUri);
    await house.house.clients.remove(client, "operator", operator);
    const refresh = { grant_type: "refresh_token", client_id: client, refresh_token: String(held) };
    expect(await program.token(refresh)).toMatchObject({ status: 401, body: { error: "invalid_client" } });
    await expect(ada.authorize(program.login(client, redirectUri).url)).rejects.toThrow("leads nowhere (400)");
    const anew = await program.registered({ client_name: "Claude Code", redirect_uris: [redirectUri] });
    expect(await program.whoami(await program.signIn(anew, redirectUri))).toMatchObject({ agent: anew });
  });
});

describe.runIf(canMakeCertificates())("over TLS", () => {
  it("a person signs in, and what the browser keeps can be set and read by this host alone", async () => {
    let authority = "";
    const secure = await serveOAuthHouse({
      scheme: "https",
      server: "  tls: { certificate: ./here.crt, key: ./here.key }",
      agents: '  app: { redirectUris: ["https://app.example/back"] }',
      async prepare(folder) {
        const ca = createAuthority(folder, "ca");
        issue(folder, ca, "here", "server");
        authority = readFileSync(ca.certificate, "utf8");
      },
    });
    const before = getCACertificates("default");
    setDefaultCACertificates([...before, authority]);
    try {
      const query = new URLSearchParams({
        response_type: "code",
        client_id: "app",
        redirect_uri: "https://app.example/back",
        code_challenge: createHash("sha256").update("of-a-test").digest("base64url"),
        code_challenge_method: "S256",
      });
      const url = `${secure.url}/oauth/authorize?${query.toString()}`;
      const bob = await secure.person("bob");
      const back = await bob.authorize(url);
      expect(back.searchParams.get("iss")).toBe(secure.url);
      const kept = bob.cookies();
      expect(kept.map(({ name }) => name)).toContain("__Host-leasehold");
      const { headers } = await fetch(url, { redirect: "manual" });
      for (const line of headers.getSetCookie()) {
        expect(line).toMatch(/^__(?:Host|Secure)-/);
        expect(line).toMatch(/; secure\b/i);
        expect(line).toMatch(/; httponly\b/i);
        expect(line).not.toMatch(/; domain=/i);
        if (line.startsWith("__Host-")) expect(line).toMatch(/; path=\/(?:;|$)/i);
      }
      expect(headers.getSetCookie().length).toBeGreaterThan(0);
    } finally {
      setDefaultCACertificates(before);
      await secure.close();
    }
  });
});
