import { createPrivateKey } from "node:crypto";
import type { webcrypto } from "node:crypto";
import { readFile } from "node:fs/promises";
import * as oauth from "oauth4webapi";
import type { Access } from "./access.ts";
import { isSecure } from "./address.ts";
import type { Env } from "./browser.ts";
import type { Challenge } from "./challenge.ts";
import type { Realm } from "./discovery.ts";
import { discover } from "./discovery.ts";
import type { Held } from "./exchange.ts";
import { covers, heldFrom, isFresh, refusal, withNonce } from "./exchange.ts";
import { BridgeProblem } from "./problem.ts";
import { newProofKey, proofs, takesProofs } from "./proof-key.ts";
import type { Web } from "./web.ts";

/** What a machine shows for a token, made anew for every exchange. */
interface Claim {
  readonly client: oauth.Client;
  readonly authentication: oauth.ClientAuth;
  readonly grant: string;
  readonly parameters: Readonly<Record<string, string>>;
}

export type Prove = (realm: Realm) => Promise<Claim>;

/** Access without a person. Nothing is stored: what proves who it is can be shown again at any time. */
export function createMachine(parts: {
  readonly server: URL;
  readonly prove: Prove;
  readonly web: Web;
  readonly now: () => number;
}): Access {
  const { server, prove, web, now } = parts;
  let held: Held | undefined;
  let realm: Promise<Realm> | undefined;
  let obtaining: Promise<Held> | undefined;
  const key = newProofKey();
  key.catch(() => undefined);

  async function obtain(challenge: Challenge | undefined, scopes: readonly string[] | undefined): Promise<Held> {
    realm ??= discover(web, server, challenge?.metadata);
    const found = await realm.catch((thrown: unknown) => {
      realm = undefined;
      throw thrown;
    });
    const { as, issuer, resource } = found;
    const claim = await prove(found);
    const handle = takesProofs(as) ? await proofs(claim.client, await key) : undefined;
    const parameters = { ...claim.parameters, resource, ...(scopes ? { scope: scopes.join(" ") } : {}) };
    try {
      const answer = await withNonce(async () =>
        oauth.processGenericTokenEndpointResponse(
          as,
          claim.client,
          await oauth.genericTokenEndpointRequest(as, claim.client, claim.authentication, claim.grant, parameters, {
            ...web.options(issuer),
            ...(handle ? { DPoP: handle } : {}),
          }),
        ),
      );
      return heldFrom(answer, { scopes, proofs: handle, now: now() });
    } catch (thrown) {
      throw await refusal(thrown, "the broker did not accept what this machine proves itself with");
    }
  }

  async function once(challenge: Challenge | undefined, scopes: readonly string[] | undefined): Promise<Held> {
    obtaining ??= obtain(challenge, scopes).finally(() => (obtaining = undefined));
    return (held = await obtaining);
  }

  return {
    async current() {
      if (held && isFresh(held, now())) return held.credential;
      return (await once(undefined, held?.scopes)).credential;
    },
    async renew(refused, challenge) {
      if (held && held.credential !== refused && isFresh(held, now())) return held.credential;
      return (await once(challenge, held?.scopes)).credential;
    },
    async widen(challenge) {
      if (challenge.scopes.length === 0 || covers(held?.scopes, challenge.scopes))
        throw new BridgeProblem("refused", "the broker refuses this call, though the token has all the scopes that it asks for");
      await obtaining?.catch(() => undefined);
      return (await once(challenge, [...new Set([...(held?.scopes ?? []), ...challenge.scopes])])).credential;
    },
  };
}

const algorithms = {
  "P-256": { name: "ECDSA", namedCurve: "P-256" },
  "P-384": { name: "ECDSA", namedCurve: "P-384" },
  Ed25519: { name: "Ed25519" },
  RSA: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
} as const;

/** An agent that the operator registered with its public key (RFC 7523 section 2.2). The file holds a JWK or PKCS #8 in PEM. */
export function byKey(clientId: string, file: string): Prove {
  return async () => {
    const { key, kid } = await readKey(file);
    return {
      client: { client_id: clientId },
      authentication: oauth.PrivateKeyJwt({ key, ...(kid === undefined ? {} : { kid }) }),
      grant: "client_credentials",
      parameters: {},
    };
  };
}

async function readKey(file: string): Promise<{ readonly key: webcrypto.CryptoKey; readonly kid: string | undefined }> {
  const text = await readText(file, "the key");
  try {
    const jwk: ({ readonly kid?: unknown } & Readonly<Record<string, unknown>>) | undefined = text.startsWith("{")
      ? JSON.parse(text)
      : undefined;
    const key = createPrivateKey(jwk ? { key: jwk, format: "jwk" } : text);
    const { kty, crv } = key.export({ format: "jwk" });
    const algorithm = Object.entries(algorithms).find(([name]) => name === (crv ?? kty))?.[1];
    if (!algorithm) throw new TypeError("a kind of key that signs nothing here");
    return { key: key.toCryptoKey(algorithm, false, ["sign"]), kid: typeof jwk?.kid === "string" ? jwk.kid : undefined };
  } catch (cause) {
    throw new BridgeProblem("refused", `${file} holds no private key`, {
      fix: "Expected a JWK or PKCS #8 in PEM: P-256, P-384, Ed25519 or RSA.",
      cause,
    });
  }
}

/** A workload with a token of its platform (RFC 7523 section 2.1). It registers nothing: the broker knows the platform. */
export function byWorkload(token: (realm: Realm) => Promise<string>): Prove {
  return async (realm) => ({
    client: { client_id: "workload" },
    authentication: oauth.None(),
    grant: "urn:ietf:params:oauth:grant-type:jwt-bearer",
    parameters: { assertion: await token(realm) },
  });
}

/** Read for every exchange: Kubernetes puts a new token there long before the old one runs out. */
export function tokenInFile(file: string): () => Promise<string> {
  return () => readText(file, "the workload token");
}

/** Asks GitHub for the token of the job that we run in; it wants `permissions: id-token: write`. */
export function tokenOfGitHubJob(web: Web, env: Env): (realm: Realm) => Promise<string> {
  return async (realm) => {
    const place = env["ACTIONS_ID_TOKEN_REQUEST_URL"] ?? "";
    const secret = env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"];
    const url = URL.canParse(place) ? new URL(place) : undefined;
    if (!url || secret === undefined || !isSecure(url))
      throw new BridgeProblem("refused", "this is no job of GitHub Actions that may ask for a token", {
        fix: "The workflow needs `permissions: id-token: write`.",
      });
    url.searchParams.set("audience", realm.as.issuer);
    const response = await web.get(url, { authorization: `Bearer ${secret}` });
    const body: unknown = response.ok ? await response.json().catch(() => undefined) : undefined;
    if (typeof body === "object" && body !== null && "value" in body && typeof body.value === "string") return body.value;
    throw new BridgeProblem("unavailable", "GitHub gave no token for this job");
  };
}

async function readText(file: string, what: string): Promise<string> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new BridgeProblem("refused", `${file} cannot be read`, { fix: `It should hold ${what}.`, cause });
  });
  if (text.trim() === "" || text.length > 65_536) throw new BridgeProblem("refused", `${file} does not hold ${what}`);
  return text.trim();
}
