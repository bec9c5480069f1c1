import type { KeyObject } from "node:crypto";
import { timingSafeEqual } from "node:crypto";
import * as oauth from "oauth4webapi";
import { z } from "zod";
import { isLoopback } from "../config/loopback.ts";
import type { VouchedUser } from "../identity/users.ts";
import type { OpenIdRules } from "./openid-rules.ts";
import { judge } from "./openid-rules.ts";
import { token } from "./people-request.ts";

/** Signing in with an OpenID provider (OpenID Connect Core 1.0): code, PKCE, nonce, and a state that belongs to one browser. */
export interface OpenId {
  /** Host of the provider, for people. */
  readonly host: string;
  /** `bound` is what the person was doing. The cookie is what their browser has to bring back with the answer. */
  begin(bound: string): Promise<{ readonly location: string; readonly cookie: string }>;
  /** Throws when the answer is not this browser's, or not good. `user` is absent when nothing lets them in. */
  finish(answer: URL, cookie: string | undefined): Promise<{ readonly bound: string; readonly user?: VouchedUser }>;
}

export interface OpenIdParts extends OpenIdRules {
  readonly clientId: string;
  /** Read at each sign-in, from where the configuration says that it rests. */
  readonly clientSecret?: () => Promise<string>;
  readonly scopes: readonly string[];
  /** The callback below the public URL. */
  readonly redirectUri: string;
  /** 32 random bytes. */
  readonly key: KeyObject;
  readonly fetch?: typeof globalThis.fetch;
  readonly now: () => number;
}

/** What the browser keeps while the person is away. */
const flight = z.object({ bound: z.string(), state: z.string(), nonce: z.string(), verifier: z.string(), until: z.number() });

const awayFor = 10 * 60_000;
/** Milliseconds for which the provider's metadata is believed. */
const metadataFor = 60 * 60_000;
const patience = 5_000;

export function createOpenId(parts: OpenIdParts): OpenId {
  const { key, now, redirectUri } = parts;
  const issuer = new URL(parts.issuer);
  const client: oauth.Client = { client_id: parts.clientId };
  let metadata: { readonly server: oauth.AuthorizationServer; readonly at: number } | undefined;

  const options = () => ({
    signal: AbortSignal.timeout(patience),
    [oauth.customFetch]: (url: string, { body, ...init }: oauth.CustomFetchOptions<string, URLSearchParams | undefined>) =>
      (parts.fetch ?? globalThis.fetch)(url, body === undefined ? init : { ...init, body }),
    // For a provider on this machine, where there is nobody in between.
    [oauth.allowInsecureRequests]: issuer.protocol === "http:" && isLoopback(issuer.hostname),
  });

  async function discover(): Promise<oauth.AuthorizationServer> {
    if (metadata && now() - metadata.at < metadataFor) return metadata.server;
    const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options()));
    metadata = { server, at: now() };
    return server;
  }

  async function authentication(server: oauth.AuthorizationServer): Promise<oauth.ClientAuth> {
    if (!parts.clientSecret) return oauth.None();
    const methods = server.token_endpoint_auth_methods_supported ?? ["client_secret_basic"];
    const make = methods.includes("client_secret_basic") ? oauth.ClientSecretBasic : oauth.ClientSecretPost;
    return make(await parts.clientSecret());
  }

  /** Claims of the ID token; what is missing there is asked of the userinfo endpoint. */
  async function claimsOf(
    server: oauth.AuthorizationServer,
    response: Response,
    nonce: string,
  ): Promise<Readonly<Record<string, unknown>>> {
    const expected = { expectedNonce: nonce, requireIdToken: true };
    const tokens = await oauth.processAuthorizationCodeResponse(server, client, response, expected);
    await oauth.validateApplicationLevelSignature(server, response, options());
    const claims = oauth.getValidatedIdTokenClaims(tokens);
    if (!claims) throw new Error("the provider sent no ID token");
    if ((parts.teams in claims && "email" in claims) || server.userinfo_endpoint === undefined) return claims;
    const more = await oauth.userInfoRequest(server, client, tokens.access_token, options());
    return { ...(await oauth.processUserInfoResponse(server, client, claims.sub, more)), ...claims };
  }

  function open(cookie: string | undefined): z.output<typeof flight> {
    const [body = "", mac = ""] = (cookie ?? "").split(".");
    const given = Buffer.from(mac);
    const right = Buffer.from(token(key, "openid", body));
    if (given.length !== right.length || !timingSafeEqual(given, right)) throw new Error("an answer to what this browser did not ask");
    const found = flight.parse(JSON.parse(Buffer.from(body, "base64url").toString("utf8")));
    if (now() > found.until) throw new Error("an answer that came too late");
    return found;
  }

  return {
    host: issuer.host,

    async begin(bound) {
      const server = await discover();
      if (server.authorization_endpoint === undefined) throw new Error("the provider has no authorization endpoint");
      const [state, nonce, verifier] = [oauth.generateRandomState(), oauth.generateRandomNonce(), oauth.generateRandomCodeVerifier()];
      const location = new URL(server.authorization_endpoint);
      const parameters = {
        client_id: parts.clientId,
        response_type: "code",
        redirect_uri: redirectUri,
        scope: [...new Set(["openid", ...parts.scopes])].join(" "),
        state,
        nonce,
        code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
        code_challenge_method: "S256",
      };
      for (const [name, value] of Object.entries(parameters)) location.searchParams.set(name, value);
      const body = Buffer.from(JSON.stringify({ bound, state, nonce, verifier, until: now() + awayFor })).toString("base64url");
      return { location: location.href, cookie: `${body}.${token(key, "openid", body)}` };
    },

    async finish(answer, cookie) {
      const { bound, state, nonce, verifier } = open(cookie);
      const server = await discover();
      const code = oauth.validateAuthResponse(server, client, answer, state);
      const auth = await authentication(server);
      const response = await oauth.authorizationCodeGrantRequest(server, client, auth, code, redirectUri, verifier, options());
      const user = judge(await claimsOf(server, response, nonce), parts);
      return { bound, ...(user ? { user } : {}) };
    },
  };
}
