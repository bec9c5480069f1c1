import { createHash, randomBytes } from "node:crypto";
import { request } from "node:http";
import type { AgentName } from "../../src/core/brand.ts";
import { operatorMetadata } from "../../src/identity/operator-client.ts";
import type { OAuthHouse, OAuthHouseOptions } from "./oauth-house.ts";
import { operator, serveOAuthHouse, tickets } from "./oauth-house.ts";
import type { Person } from "./person.ts";

export const redirect = "https://app.example/back";
/** What `client_credentials` clients prove themselves with. */
const secret = randomBytes(32).toString("base64url");

/** Two public clients that people sign in to, `app` and `rival`; `svc` and `svc2` have a secret, and `web` has both. */
const agents = `
  app: { roles: [ticket-automation], redirectUris: ["${redirect}", "${redirect}/two"] }
  rival: { redirectUris: ["${redirect}"] }
`;

export type Fields = Readonly<Record<string, string>>;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly scope: string;
}

export type AuthorizationHouse = Awaited<ReturnType<typeof openAuthorizationHouse>>;

/** The whole broker with a few clients, and what they do, by hand: also what no well-behaved client sends. */
export async function openAuthorizationHouse(options: OAuthHouseOptions = {}) {
  const house = await serveOAuthHouse({
    ...options,
    agents: `${agents}${options.agents ?? ""}`,
    extra: options.extra ?? "oauth: { requestsPerMinute: 100000 }",
  });
  for (const [name, redirectUris] of [
    ["svc", []],
    ["svc2", []],
    ["web", [redirect]],
  ] as const)
    await house.house.clients.add(
      {
        id: name,
        agent: name as AgentName,
        source: "operator",
        name,
        metadata: operatorMetadata({ name: name as AgentName, redirectUris, secret, dpop: false }),
        roles: ["ticket-automation"],
      },
      operator,
    );
  return { ...house, ...desk(house), ...clientsOf(house) };
}

/** What clients send, and to which URL. */
export function clientsOf({ url, mcp }: Pick<OAuthHouse, "url" | "mcp">) {
  const answerOf = async (response: Response): Promise<Answer> => {
    const { status, headers } = response;
    const text = await response.text();
    const body = text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : {};
    return { status, headers, text, body };
  };

  /** A form; repeated parameters as pairs. */
  const send = async (path: string, fields: Fields | [string, string][], headers: Fields = {}): Promise<Answer> =>
    answerOf(await fetch(`${url}${path}`, { method: "POST", body: new URLSearchParams(fields), headers, redirect: "manual" }));
  const token = (fields: Fields | [string, string][], headers: Fields = {}) => send("/oauth/token", fields, headers);

  return {
    send,
    token,
    get: async (path: string, headers: Fields = {}) => answerOf(await fetch(`${url}${path}`, { headers, redirect: "manual" })),
    refresh: (refreshToken: string, more: Fields = {}, client = "app", headers: Fields = {}) =>
      token({ grant_type: "refresh_token", refresh_token: refreshToken, client_id: client, ...more }, headers),
    credentials: (client = "svc", more: Fields = {}, headers: Fields = {}) =>
      token({ grant_type: "client_credentials", ...more }, { authorization: basic(client), ...headers }),

    /** HTTP status of a call with this token: 200, or 401 when it is dead. */
    async call(accessToken: string, tool = "whoami", input: object = {}): Promise<Answer> {
      const response = await fetch(mcp, {
        method: "POST",
        headers: {
          authorization: `Bearer ${accessToken}`,
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
        },
        body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: tool, arguments: input } }),
      });
      return answerOf(response);
    },
  };
}

/** What people do for a client. */
function desk(house: OAuthHouse) {
  const { token } = clientsOf(house);

  /** An authorization request, and the verifier of its challenge. A consent of its own, so that each is a sign-in of its own. */
  function asking(client = "app", more: Fields = {}) {
    const verifier = randomBytes(32).toString("base64url");
    const url = new URL(`${house.url}/oauth/authorize`);
    const fields: Fields = {
      client_id: client,
      response_type: "code",
      redirect_uri: redirect,
      code_challenge: challengeOf(verifier),
      code_challenge_method: "S256",
      state: "state-of-the-client",
      prompt: "consent",
      ...more,
    };
    for (const [name, value] of Object.entries(fields)) if (value !== "") url.searchParams.set(name, value);
    return { url, verifier };
  }

  async function codeFor(person: Person, client = "app", more: Fields = {}) {
    const { url, verifier } = asking(client, more);
    const back = await person.authorize(url);
    return { code: back.searchParams.get("code") ?? "", verifier, back };
  }

  const redeem = ({ code, verifier }: { readonly code: string; readonly verifier: string }, more: Fields = {}, headers: Fields = {}) =>
    token({ grant_type: "authorization_code", code, code_verifier: verifier, redirect_uri: redirect, client_id: "app", ...more }, headers);

  return {
    asking,
    codeFor,
    redeem,

    async signIn(person: Person, client = "app", more: Fields = {}): Promise<Tokens> {
      const { body, status } = await redeem(await codeFor(person, client, more), { client_id: client });
      if (status !== 200) throw new Error(JSON.stringify(body));
      return tokensOf(body);
    },

    eventsOf: async (kind: string) => (await house.events()).filter((event) => event["kind"] === kind),

    /** A lease of the one who has this token. */
    async borrow(accessToken: string): Promise<string> {
      const { credential, purpose } = tickets;
      const answer = await clientsOf(house).call(accessToken, "request_lease", { credential, purpose, delivery: "inject" });
      const lease = /"lease_id":"(\w+)"/.exec(answer.text)?.[1];
      if (lease === undefined) throw new Error(answer.text.slice(0, 300));
      return lease;
    },

    stateOf: async (lease: string) => (await house.house.leases.list({})).find(({ id }) => id === lease)?.state,
  };
}

export function tokensOf(body: Readonly<Record<string, unknown>>): Tokens {
  const text = (name: string): string => {
    const value = body[name];
    return typeof value === "string" ? value : "";
  };
  return { access_token: text("access_token"), refresh_token: text("refresh_token"), scope: text("scope") };
}

export const basic = (client: string, password = secret): string => `Basic ${Buffer.from(`${client}:${password}`).toString("base64")}`;

export const challengeOf = (verifier: string): string => createHash("sha256").update(verifier).digest("base64url");

/** The claims of a JWT. */
export function claimsIn(token: string): Readonly<Record<string, unknown>> {
  return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as Record<string, unknown>;
}

/** A request with a `Host` of one's own, which `fetch` does not send. Answers with the status, headers and text. */
export function rawRequest(
  port: number,
  path: string,
  { method = "GET", headers = {}, body }: { readonly method?: string; readonly headers?: Fields; readonly body?: string } = {},
): Promise<{ readonly status: number; readonly headers: Headers; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: "127.0.0.1", port, path, method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("error", reject);
      response.once("end", () => {
        const pairs = response.rawHeaders.flatMap((name, at): [string, string][] =>
          at % 2 === 0 ? [[name, response.rawHeaders[at + 1] ?? ""]] : [],
        );
        resolve({ status: response.statusCode ?? 0, headers: new Headers(pairs), text: Buffer.concat(chunks).toString() });
      });
    });
    outgoing.once("error", reject);
    outgoing.end(body);
  });
}
