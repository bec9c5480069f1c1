import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { CryptoKey, JWK, JWTPayload } from "jose";

/** How its answers go wrong. */
type Misbehaviour = "none" | "slow" | "broken" | "huge" | "redirecting" | "impostor" | "html" | "plain-oauth" | "no-keys";

interface MintOptions {
  readonly alg?: string;
  readonly kid?: string | undefined;
  readonly typ?: string;
  /** Signs with this key, and names the issuer's own. */
  readonly key?: CryptoKey;
}

/** A platform that signs tokens of its workloads: discovery, keys, and the endpoint of GitHub's runners. It misbehaves on request. */
export interface MockIssuer {
  readonly url: string;
  mode: Misbehaviour;
  /** Paths that were asked for. */
  readonly asked: string[];
  readonly now: () => number;
  mint(claims: JWTPayload, options?: MintOptions): Promise<string>;
  /** A new key signs from now on. The old one stays in the set, unless it is withdrawn. */
  rotate(options?: { readonly withdraw?: boolean; readonly alg?: string }): Promise<void>;
  jwks(): { readonly keys: readonly JWK[] };
  /** What a job of GitHub Actions gets when it asks for its token with this environment. */
  readonly runner: { readonly url: string; readonly secret: string; claims: JWTPayload };
  close(): Promise<void>;
}

interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

async function newKey(alg: string): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const kid = randomUUID();
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" } };
}

export async function startIssuer(now: () => number = Date.now, path = ""): Promise<MockIssuer> {
  let keys: SigningKey[] = [await newKey("RS256")];
  const current = (): SigningKey => keys[0] ?? fail();
  const secret = randomUUID();

  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? "/", origin);
    const send = (status: number, body: unknown, headers = {}): void => {
      response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
    };
    if (pathname === "/runner/token") {
      if (request.headers.authorization !== `bearer ${secret}`) return send(401, {});
      return send(200, { value: await issuer.mint({ ...issuer.runner.claims, aud: searchParams.get("audience") ?? "none" }) });
    }
    issuer.asked.push(pathname);
    if (issuer.mode === "slow") return;
    if (issuer.mode === "broken") return send(500, { error: "server_error" });
    if (issuer.mode === "html") return void response.end("<html>");
    const isKeys = pathname === "/keys";
    if (isKeys && issuer.mode === "huge") return send(200, { keys: keys.map(({ jwk }) => jwk), padding: "x".repeat(300 * 1024) });
    if (isKeys && issuer.mode === "redirecting") return send(302, {}, { location: "/keys-elsewhere" });
    if (isKeys && issuer.mode === "no-keys") return send(200, { keys: [{ kty: "oct", k: "c2VjcmV0" }] });
    if (isKeys || pathname === "/keys-elsewhere") return send(200, issuer.jwks());
    const openid = pathname === `${path}/.well-known/openid-configuration` && issuer.mode !== "plain-oauth";
    const oauth = pathname === `/.well-known/oauth-authorization-server${path}`;
    if (!openid && !oauth) return send(404, {});
    return send(200, { issuer: issuer.mode === "impostor" ? "https://other.example" : issuer.url, jwks_uri: `${origin}/keys` });
  }

  const issuer: MockIssuer = {
    url: `${origin}${path}`,
    mode: "none",
    asked: [],
    now,
    async mint(claims, options = {}) {
      const { kid, alg, privateKey } = current();
      const seconds = Math.floor(now() / 1000);
      const named = "kid" in options ? options.kid : kid;
      const header = {
        alg: options.alg ?? alg,
        ...(named === undefined ? {} : { kid: named }),
        ...(options.typ === undefined ? {} : { typ: options.typ }),
      };
      const payload = { iss: issuer.url, iat: seconds, nbf: seconds, exp: seconds + 300, jti: randomUUID(), ...claims };
      const defined = Object.fromEntries(Object.entries(payload).filter(([, value]) => value !== undefined));
      return new SignJWT(defined).setProtectedHeader(header).sign(options.key ?? privateKey);
    },
    async rotate({ withdraw = false, alg = "RS256" } = {}) {
      keys = [await newKey(alg), ...(withdraw ? [] : keys)];
    },
    jwks: () => ({ keys: keys.map(({ jwk }) => jwk) }),
    runner: { url: `${origin}/runner/token?api-version=2`, secret, claims: {} },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return issuer;
}

function fail(): never {
  throw new Error("an issuer without keys");
}
