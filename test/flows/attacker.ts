import { createHash, randomBytes } from "node:crypto";
import { Writable } from "node:stream";
import type { Run } from "../../src/cli/command.ts";
import { freeze } from "../../src/cli/commands/freeze.ts";
import { given } from "../../src/cli/given.ts";
import { createScreen } from "../../src/cli/screen.ts";
import type { AgentName } from "../../src/core/brand.ts";
import type { OAuthHouse } from "./oauth-house.ts";
import { operator, tickets } from "./oauth-house.ts";
import type { Person } from "./person.ts";

export const redirect = "https://client.example/back";
export const exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange";
const accessType = "urn:ietf:params:oauth:token-type:access_token";

export type Fields = Readonly<Record<string, string>>;
export interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

export async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  return { status: response.status, body: text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : { text } };
}

export const claims = (jwt: string) => JSON.parse(Buffer.from(jwt.split(".")[1] ?? "", "base64url").toString()) as Record<string, unknown>;
export const tokenIn = ({ body }: Answer): string => String(body["access_token"]);

export type Attacker = ReturnType<typeof createAttacker>;

/** Whoever may send what they like to a broker, and has talked somebody into signing in. */
export function createAttacker(house: OAuthHouse, somebody: Person) {
  const post = async (path: string, fields: Fields, headers: Fields = {}): Promise<Answer> =>
    answerOf(await fetch(`${house.url}${path}`, { method: "POST", body: new URLSearchParams(fields), headers }));
  const token = (fields: Fields, headers: Fields = {}) => post("/oauth/token", fields, headers);

  async function register(metadata: object = {}, headers: Fields = {}): Promise<Answer> {
    const body = JSON.stringify({ redirect_uris: [redirect], client_name: "App", token_endpoint_auth_method: "none", ...metadata });
    const response = await fetch(`${house.url}/oauth/register`, {
      method: "POST",
      body,
      headers: { "content-type": "application/json", ...headers },
    });
    return answerOf(response);
  }

  async function codeFor(
    client: string,
    person = somebody,
    more: Fields = {},
  ): Promise<{ readonly code: string; readonly verifier: string }> {
    const verifier = randomBytes(32).toString("base64url");
    const asked = new URLSearchParams({
      client_id: client,
      redirect_uri: redirect,
      response_type: "code",
      code_challenge: createHash("sha256").update(verifier).digest("base64url"),
      code_challenge_method: "S256",
      state: "s",
      ...more,
    });
    const back = await person.authorize(`${house.url}/oauth/authorize?${asked.toString()}`);
    const code = back.searchParams.get("code");
    if (code === null) throw new Error(`no code: ${back.href}`);
    return { code, verifier };
  }

  async function signIn(client: string, person = somebody, more: Fields = {}, secret: Fields = {}) {
    const { code, verifier } = await codeFor(client, person, more);
    const answer = await token({
      grant_type: "authorization_code",
      client_id: client,
      code,
      code_verifier: verifier,
      redirect_uri: redirect,
      ...secret,
    });
    if (answer.status !== 200) throw new Error(JSON.stringify(answer));
    return { access: String(answer.body["access_token"]), refresh: String(answer.body["refresh_token"]), body: answer.body };
  }

  const refresh = (client: string, refreshToken: string, more: Fields = {}) =>
    token({ grant_type: "refresh_token", client_id: client, refresh_token: refreshToken, ...more });
  const exchange = (client: string, subject: string, more: Fields = {}) =>
    token({ grant_type: exchangeGrant, client_id: client, subject_token: subject, subject_token_type: accessType, ...more });

  /** A call of a tool: its structured result, or the status when it is not let in. */
  async function call(access: string, tool: string, input: object = {}): Promise<number | Record<string, unknown>> {
    const response = await fetch(house.mcp, {
      method: "POST",
      headers: {
        authorization: `Bearer ${access}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": "2025-11-25",
      },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: tool, arguments: input } }),
    });
    if (response.status !== 200) return response.status;
    return ((await response.json()) as { result: { structuredContent: Record<string, unknown> } }).result.structuredContent;
  }

  const lend = (access: string) => call(access, "request_lease", { credential: tickets.credential, purpose: "a test" });
  const leasesOf = async (agent: string) =>
    (await house.house.operator.list({ agent: agent as AgentName, live: true, limit: 100 })).map(({ id }) => id);

  async function invited(metadata: object = {}): Promise<{ readonly id: string; readonly secret: string }> {
    const order = { roles: ["ticket-automation"], uses: 1, ttlSeconds: 600, createdBy: "test" };
    const { token: invitation } = await house.house.invitations.create(order, operator);
    const machine = { grant_types: ["client_credentials"], token_endpoint_auth_method: "client_secret_post", redirect_uris: [] };
    const { body } = await register({ ...machine, ...metadata }, { authorization: `Bearer ${invitation}` });
    return { id: String(body["client_id"]), secret: String(body["client_secret"]) };
  }

  const authorizeUrl = (client: string, more: Fields = {}): string =>
    `${house.url}/oauth/authorize?${new URLSearchParams({ client_id: client, redirect_uri: redirect, response_type: "code", code_challenge: "a".repeat(43), code_challenge_method: "S256", ...more }).toString()}`;

  /** By an agent that shows a token of its own. */
  const delegate = (agent: string, subject: string, more: Fields = {}) =>
    exchange(agent, subject, {
      actor_token: house.house.tokens.mint({ agent: agent as AgentName }).token,
      actor_token_type: accessType,
      ...more,
    });

  return { post, token, register, codeFor, signIn, refresh, exchange, delegate, call, lend, leasesOf, invited, authorizeUrl };
}

/** As at the command line. */
export async function freezeUser({ house }: OAuthHouse, user: string): Promise<void> {
  const nowhere = () => new Writable({ write: (_chunk, _encoding, done) => done() });
  const screen = createScreen({ stdout: nowhere(), stderr: nowhere(), json: false, verbose: false });
  const run = { args: [], given: given({ user }), screen, json: false, now: Date.now, house: async () => house };
  await freeze(run as unknown as Run);
}
