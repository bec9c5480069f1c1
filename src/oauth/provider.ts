import { hkdfSync } from "node:crypto";
import type { KeyObject } from "node:crypto";
import type { AdapterFactory, ClientAuthMethod, Configuration, errors, KoaContextWithOIDC, Provider } from "oidc-provider";
import type { OAuthConfig } from "../config/config.ts";
import { allScopes } from "../core/scope.ts";
import type { KeySet } from "../crypto/key-set.ts";
import { workloadClient } from "../identity/access-token.ts";
import { dpopAlgorithms } from "../identity/dpop.ts";
import type { Issue } from "./issue.ts";
import type { ExtraGrant, People, Registration } from "./parts.ts";

/** The library, imported by whoever serves: it takes a quarter of a second. */
interface Library {
  readonly Provider: typeof Provider;
  readonly errors: typeof errors;
}

export interface ProviderParts {
  readonly library: Library;
  readonly issuer: string;
  /** The one resource that tokens are for. */
  readonly resource: string;
  readonly config: Pick<OAuthConfig, "accessTokenTtl" | "refreshTokenTtl" | "people">;
  readonly keys: KeySet;
  readonly adapter: AdapterFactory;
  readonly registration: Registration;
  readonly people: People;
  readonly grants: readonly ExtraGrant[];
  readonly issue: Issue;
  /** 32 random bytes, the same in all processes of a broker: cookies and nonces are signed with what is derived from it. */
  readonly key: KeyObject;
  readonly now: () => number;
}

const clientAuthMethods: ClientAuthMethod[] = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];
/** Seconds that an assertion of a client may still live: for so long it is kept, so that nobody uses it twice (RFC 7523 section 3). */
const longestAssertion = 3_600;
const minutes = 60;
const year = 365 * 24 * 3_600;

export const routes = {
  authorization: "/oauth/authorize",
  token: "/oauth/token",
  revocation: "/oauth/revoke",
  introspection: "/oauth/introspect",
  jwks: "/oauth/jwks",
  registration: "/oauth/register",
  device_authorization: "/oauth/device_authorization",
  code_verification: "/oauth/device",
  pushed_authorization_request: "/oauth/par",
  end_session: "/oauth/end_session",
  userinfo: "/oauth/userinfo",
  challenge: "/oauth/challenge",
  backchannel_authentication: "/oauth/backchannel",
} as const;

/** The protocol as we want it spoken: codes with PKCE only, one resource, tokens of ours, and nothing left at a default that is for trying out. */
export function createProvider(parts: ProviderParts): Provider {
  const { library, issuer, registration, grants } = parts;
  const provider = new library.Provider(issuer, configurationOf(parts));
  // Where a proxy ends TLS, we say so ourselves: what arrives with a request is overwritten before it gets here.
  provider.proxy = true;
  for (const grant of grants)
    provider.registerGrantType(
      grant.name,
      (context) => grant.handler(provider, context as KoaContextWithOIDC),
      [...grant.parameters],
      [...(grant.repeatable ?? [])],
    );
  provider.use((context, next) =>
    context.path === routes.registration || context.path.startsWith(`${routes.registration}/`)
      ? registration.step(context as KoaContextWithOIDC, next)
      : next(),
  );
  return provider;
}

function configurationOf(parts: ProviderParts): Configuration {
  const { issuer, resource, config, keys, people, registration, grants, library } = parts;
  const secure = new URL(issuer).protocol === "https:";
  const derived = (purpose: string): Buffer => Buffer.from(hkdfSync("sha256", parts.key.export(), "", `leasehold ${purpose}`, 32));
  const cookie = { httpOnly: true, sameSite: "lax", secure, signed: true, path: "/" } as const;

  return {
    ...people.configuration,
    adapter: parts.adapter,
    clients: [
      {
        client_id: workloadClient,
        client_name: "Workloads",
        token_endpoint_auth_method: "none",
        grant_types: grants.map(({ name }) => name),
        redirect_uris: [],
        response_types: [],
      },
    ],
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    clientAuthMethods,
    assertJwtClientAuthClaimsAndHeader(_, { exp }) {
      if (typeof exp !== "number" || exp - parts.now() / 1000 > longestAssertion)
        throw new library.errors.InvalidClientAuth({ detail: "the assertion lives too long" });
    },
    enabledJWA: {
      clientAuthSigningAlgValues: ["ES256", "EdDSA", "Ed25519", "PS256", "RS256"],
      idTokenSigningAlgValues: ["ES256"],
      dPoPSigningAlgValues: [...dpopAlgorithms] as ("ES256" | "EdDSA")[],
    },
    extraClientMetadata: registration.extraClientMetadata,
    fetch: registration.fetch,
    jwks: {
      keys: keys.published().map(({ kid, privateKey }) => ({ ...privateKey.export({ format: "jwk" }), kid, alg: "ES256", use: "sig" })),
    },
    cookies: {
      names: cookieNames(secure),
      long: cookie,
      short: { httpOnly: true, sameSite: "lax", secure, signed: true },
      keys: [derived("cookies").toString("base64url")],
    },
    claims: { openid: ["sub"] },
    // What is not said means something else (RFC 8414 section 2): a client without credentials would not try.
    discovery: {
      revocation_endpoint_auth_methods_supported: clientAuthMethods,
      introspection_endpoint_auth_methods_supported: clientAuthMethods.slice(1),
    },
    extraParams: {
      authorization_details(_, details) {
        if (details !== undefined) throw detailsRefused(library.errors);
      },
    },
    scopes: ["openid", "offline_access", ...allScopes],
    subjectTypes: ["public"],
    responseTypes: ["code"],
    pkce: { required: () => true },
    allowOmittingSingleRegisteredRedirectUri: false,
    clientBasedCORS: () => false,
    rotateRefreshToken: true,
    issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
    // A sign-in of an agent is ended by its own rules, not when its person closes the browser.
    expiresWithSession: () => false,
    routes,
    ttl: {
      AuthorizationCode: minutes,
      ClientCredentials: config.accessTokenTtl,
      AccessToken: config.accessTokenTtl,
      DeviceCode: 10 * minutes,
      Grant: Math.max(year, config.refreshTokenTtl),
      IdToken: 10 * minutes,
      Interaction: 30 * minutes,
      RefreshToken: config.refreshTokenTtl,
      Session: config.people.sessionFor,
    },
    formats: { customizers: { jwt: (context, token, jwt) => parts.issue(context, token, jwt) } },
    features: {
      ...registration.features,
      claimsParameter: { enabled: false },
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      deviceFlow: { enabled: true, charset: "base-20", mask: "****-****", ...people.deviceFlow },
      dPoP: { enabled: true, nonceSecret: derived("dpop nonces"), allowReplay: false, requireNonce: () => false },
      introspection: {
        enabled: true,
        allowedPolicy: (_, client, token) => token.clientId === client.clientId,
      },
      pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo(context, indicator) {
          if (!isOurs(indicator, resource, issuer)) throw new library.errors.InvalidTarget();
          askForAll(context);
          return {
            scope: allScopes.join(" "),
            audience: resource,
            accessTokenTTL: config.accessTokenTtl,
            accessTokenFormat: "jwt",
            jwt: { sign: { alg: "ES256", kid: keys.current().kid } },
          };
        },
      },
      revocation: { enabled: true, allowedPolicy: (_, client, token) => token.clientId === client.clientId },
      rpInitiatedLogout: { enabled: false },
      userinfo: { enabled: false },
    },
  };
}

/** Who asks for less in a way that only a token exchange understands is told so: ignored, it would get more (RFC 9396 section 5). */
export function detailsRefused({ InvalidAuthorizationDetails }: Library["errors"]): Error {
  return new InvalidAuthorizationDetails("authorization_details are for token exchange here; ask for scopes");
}

/** A name that starts with `__Host-` can be set by this host alone; those that are for one path only have the weaker promise. */
export function cookieNames(secure: boolean) {
  return secure
    ? { session: "__Host-leasehold", interaction: "__Secure-leasehold-interaction", resume: "__Secure-leasehold-resume" }
    : { session: "leasehold", interaction: "leasehold-interaction", resume: "leasehold-resume" };
}

/** Clients name the resource by its URL, by the server's, and with a slash at the end of either. The token says it in one form. */
export function isOurs(indicator: string, resource: string, issuer: string): boolean {
  return [resource, `${resource}/`, issuer, `${issuer}/`].includes(indicator);
}

/** Who asks without saying for what asks for everything; policy and the person decide. A refresh keeps what it had. */
function askForAll({ oidc }: KoaContextWithOIDC): void {
  const { params, route } = oidc;
  if (!params || params["scope"] !== undefined) return;
  const starts = ["authorization", "pushed_authorization_request", "device_authorization"].includes(route);
  if (starts || params["grant_type"] === "client_credentials") params["scope"] = allScopes.join(" ");
}
