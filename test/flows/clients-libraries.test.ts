import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exportJWK } from "jose";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deviceGrant } from "../../src/identity/operator-client.ts";
import type { OAuthHouse } from "./oauth-house.ts";
import { operator, serveOAuthHouse, tickets } from "./oauth-house.ts";
import type { Person } from "./person.ts";

/** Strict libraries of others, unmodified, with nothing of ours but URLs: what they refuse to believe, they throw. */

let house: OAuthHouse;
let ada: Person;
/** Key of the agent `robot`, which the configuration names. */
let key: oauth.CryptoKeyPair;

beforeAll(async () => {
  key = await oauth.generateKeyPair("ES256", { extractable: true });
  house = await serveOAuthHouse({
    agents: "  robot: { roles: [ticket-automation], jwks: ./robot.json }",
    prepare: async (folder) => writeFile(join(folder, "robot.json"), JSON.stringify({ keys: [await exportJWK(key.publicKey)] })),
  });
  ada = await house.person();
});
afterAll(() => house?.close());

const redirectUri = "https://app.example/back";
const metadata = {
  client_name: "Somebody's app",
  redirect_uris: [redirectUri],
  grant_types: ["authorization_code", "refresh_token", deviceGrant],
  token_endpoint_auth_method: "none",
};

const headers = new Headers({
  "content-type": "application/json",
  accept: "application/json, text/event-stream",
  "mcp-protocol-version": "2025-11-25",
});
const calling = (name: string, input: object = {}): string =>
  JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: input } });

async function structured(response: Response): Promise<unknown> {
  const { result } = (await response.json()) as { readonly result?: { readonly structuredContent?: unknown } };
  return result?.structuredContent;
}

describe("oauth4webapi", () => {
  // The broker of a test is on this machine, without TLS: the one thing that is said to the library.
  const insecure = { [oauth.allowInsecureRequests]: true } as const;

  /** From the URL of the MCP endpoint alone, as RFC 9728 has it. */
  async function discover(): Promise<oauth.AuthorizationServer> {
    const url = new URL(house.mcp);
    const resource = await oauth.processResourceDiscoveryResponse(url, await oauth.resourceDiscoveryRequest(url, insecure));
    const issuer = new URL(resource.authorization_servers?.[0] ?? "");
    return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { ...insecure, algorithm: "oauth2" }));
  }

  it("RFC 8414 §3.3, RFC 7591 §3.2.1, RFC 9449 §5: registers, pushes its request, proves its key, calls a tool, refreshes, and gives back its tokens", async () => {
    const as = await discover();
    const client: oauth.Client = await oauth.processDynamicClientRegistrationResponse(
      await oauth.dynamicClientRegistrationRequest(as, metadata, insecure),
    );
    await house.grant(client.client_id, "ticket-automation");
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
    const bound = { ...insecure, DPoP };

    const verifier = oauth.generateRandomCodeVerifier();
    const state = oauth.generateRandomState();
    const pushed = await oauth.processPushedAuthorizationResponse(
      as,
      client,
      await oauth.pushedAuthorizationRequest(
        as,
        client,
        oauth.None(),
        {
          response_type: "code",
          redirect_uri: redirectUri,
          resource: house.mcp,
          state,
          code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
          code_challenge_method: "S256",
        },
        bound,
      ),
    );
    const url = new URL(as.authorization_endpoint ?? "");
    url.search = new URLSearchParams({ client_id: client.client_id, request_uri: pushed.request_uri }).toString();
    const answer = oauth.validateAuthResponse(as, client, await ada.authorize(url), state);
    const first = await oauth.processAuthorizationCodeResponse(
      as,
      client,
      await oauth.authorizationCodeGrantRequest(as, client, oauth.None(), answer, redirectUri, verifier, bound),
    );
    expect(first.token_type).toBe("dpop");

    const call = async (token: string) =>
      oauth.protectedResourceRequest(token, "POST", new URL(house.mcp), headers, calling("http_request", tickets), bound);
    expect(await structured(await call(first.access_token))).toMatchObject({ result: { status: 200 } });

    const refresh = (token = "") => oauth.refreshTokenGrantRequest(as, client, oauth.None(), token, bound);
    const second = await oauth.processRefreshTokenResponse(as, client, await refresh(first.refresh_token));
    expect(second.refresh_token).not.toBe(first.refresh_token);
    expect(await structured(await call(second.access_token))).toMatchObject({ result: { status: 200 } });

    const revoke = await oauth.revocationRequest(as, client, oauth.None(), second.refresh_token ?? "", insecure);
    await oauth.processRevocationResponse(revoke);
    await expect(call(second.access_token)).rejects.toThrow(oauth.WWWAuthenticateChallengeError);
    await expect(refresh(second.refresh_token).then((response) => oauth.processRefreshTokenResponse(as, client, response))).rejects.toThrow(
      oauth.ResponseBodyError,
    );
  });

  it("RFC 6749 §3.2.1, RFC 9068 §2.2, RFC 7662 §2.2: a machine proves itself by its key, and sees its own token while it lives", async () => {
    const as = await discover();
    const client: oauth.Client = { client_id: "robot" };
    const auth = oauth.PrivateKeyJwt(key.privateKey);
    const { access_token: token } = await oauth.processClientCredentialsResponse(
      as,
      client,
      await oauth.clientCredentialsGrantRequest(as, client, auth, { resource: house.mcp, scope: "use:http" }, insecure),
    );
    const request = new Request(house.mcp, { headers: { authorization: `Bearer ${token}` } });
    const claims = await oauth.validateJwtAccessToken(as, request, house.mcp, insecure);
    expect(claims).toMatchObject({ client_id: "robot", scope: "use:http" });
    const answer = await oauth.protectedResourceRequest(
      token,
      "POST",
      new URL(house.mcp),
      headers,
      calling("http_request", tickets),
      insecure,
    );
    expect(await structured(answer)).toMatchObject({ result: { status: 200 } });

    const inspect = async () =>
      oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, token, insecure));
    expect(await inspect()).toMatchObject({ active: true, client_id: "robot", scope: "use:http" });
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, token, insecure));
    expect(await inspect()).toEqual({ active: false });
  });

  it("a device without a browser shows a code, and its person confirms it elsewhere", async () => {
    const as = await discover();
    const client: oauth.Client = await oauth.processDynamicClientRegistrationResponse(
      await oauth.dynamicClientRegistrationRequest(as, metadata, insecure),
    );
    const started = await oauth.processDeviceAuthorizationResponse(
      as,
      client,
      await oauth.deviceAuthorizationRequest(as, client, oauth.None(), { resource: house.mcp }, insecure),
    );
    const poll = async () =>
      oauth.processDeviceCodeResponse(
        as,
        client,
        await oauth.deviceCodeGrantRequest(as, client, oauth.None(), started.device_code, insecure),
      );
    await expect(poll()).rejects.toThrow(expect.objectContaining({ error: "authorization_pending" }));
    expect(await ada.connect(started.verification_uri, started.user_code)).toBe("Connected");
    const { access_token: token } = await poll();
    const answer = await oauth.protectedResourceRequest(token, "POST", new URL(house.mcp), headers, calling("whoami"), insecure);
    expect(await structured(answer)).toMatchObject({ agent: client.client_id });
  });
});

describe("openid-client", () => {
  const found = { algorithm: "oauth2", execute: [openid.allowInsecureRequests] } as const;

  it("RFC 9207 §2, RFC 8707 §2: registers, signs its person in, calls a tool, refreshes, and gives back its tokens", async () => {
    const config = await openid.dynamicClientRegistration(new URL(house.url), metadata, openid.None(), {
      ...found,
      execute: [...found.execute],
    });
    const agent = config.clientMetadata().client_id;
    await house.grant(agent, "ticket-automation");
    const [pkceCodeVerifier, expectedState] = [openid.randomPKCECodeVerifier(), openid.randomState()];
    const url = openid.buildAuthorizationUrl(config, {
      redirect_uri: redirectUri,
      resource: house.mcp,
      state: expectedState,
      code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: "S256",
    });
    const first = await openid.authorizationCodeGrant(config, await ada.authorize(url), { pkceCodeVerifier, expectedState });
    const call = (token: string) =>
      openid.fetchProtectedResource(config, token, new URL(house.mcp), "POST", calling("http_request", tickets), headers);
    expect(await structured(await call(first.access_token))).toMatchObject({ result: { status: 200 } });

    const second = await openid.refreshTokenGrant(config, first.refresh_token ?? "");
    expect(await structured(await call(second.access_token))).toMatchObject({ result: { status: 200 } });
    await openid.tokenRevocation(config, second.access_token);
    await expect(call(second.access_token)).rejects.toThrow(openid.WWWAuthenticateChallengeError);
    await expect(openid.refreshTokenGrant(config, second.refresh_token ?? "")).rejects.toThrow(openid.ResponseBodyError);
  });

  it("RFC 9449 §7.1: by a pushed request and with a key, and its token is no good without it", async () => {
    const config = await openid.dynamicClientRegistration(new URL(house.url), metadata, openid.None(), {
      ...found,
      execute: [...found.execute],
    });
    const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair("ES256"));
    const pkceCodeVerifier = openid.randomPKCECodeVerifier();
    const url = await openid.buildAuthorizationUrlWithPAR(
      config,
      {
        redirect_uri: redirectUri,
        resource: house.mcp,
        code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
        code_challenge_method: "S256",
      },
      { DPoP },
    );
    const tokens = await openid.authorizationCodeGrant(config, await ada.authorize(url), { pkceCodeVerifier }, undefined, { DPoP });
    const call = (more?: { readonly DPoP: openid.DPoPHandle }) =>
      openid.fetchProtectedResource(config, tokens.access_token, new URL(house.mcp), "POST", calling("whoami"), headers, more);
    expect(await structured(await call({ DPoP }))).toMatchObject({ sender_constrained: true });
    await expect(call()).rejects.toThrow(openid.WWWAuthenticateChallengeError);
  });

  it("a machine proves itself by its key; an invited one by what it registered with, as the role of the invitation", async () => {
    const robot = await openid.discovery(new URL(house.url), "robot", undefined, openid.PrivateKeyJwt(key.privateKey), {
      ...found,
      execute: [...found.execute],
    });
    const { access_token: token } = await openid.clientCredentialsGrant(robot, { resource: house.mcp });
    expect(await openid.tokenIntrospection(robot, token)).toMatchObject({ active: true, client_id: "robot" });

    const { token: initialAccessToken } = await house.house.invitations.create(
      { roles: ["ticket-automation"], uses: 1, ttlSeconds: 60, createdBy: "test" },
      operator,
    );
    const invited = await openid.dynamicClientRegistration(
      new URL(house.url),
      {
        client_name: "nightly",
        grant_types: ["client_credentials"],
        response_types: [],
        token_endpoint_auth_method: "client_secret_basic",
      },
      undefined,
      { ...found, execute: [...found.execute], initialAccessToken },
    );
    const held = await openid.clientCredentialsGrant(invited, { resource: house.mcp });
    const answer = await openid.fetchProtectedResource(invited, held.access_token, new URL(house.mcp), "POST", calling("whoami"), headers);
    expect(await structured(answer)).toMatchObject({ agent: expect.stringMatching(/^nightly-/), roles: ["ticket-automation"] });
  });

  it("a device asks its person elsewhere, and waits", async () => {
    const config = await openid.dynamicClientRegistration(new URL(house.url), metadata, openid.None(), {
      ...found,
      execute: [...found.execute],
    });
    const started = await openid.initiateDeviceAuthorization(config, { resource: house.mcp });
    const waiting = openid.pollDeviceAuthorizationGrant(config, { ...started, interval: 1 });
    expect(await ada.connect(started.verification_uri, started.user_code)).toBe("Connected");
    const { access_token: token } = await waiting;
    const answer = await openid.fetchProtectedResource(config, token, new URL(house.mcp), "POST", calling("whoami"), headers);
    expect(await structured(answer)).toMatchObject({ agent: config.clientMetadata().client_id });
  });
});
