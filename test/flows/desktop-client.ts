import { createHash, randomBytes } from "node:crypto";
import { expect } from "vitest";
import type { Person } from "./person.ts";

type Fields = Readonly<Record<string, string>>;

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** What programs on desks say of themselves. */
const usual = { grant_types: ["authorization_code", "refresh_token"], response_types: ["code"], token_endpoint_auth_method: "none" };

export type DesktopClient = ReturnType<typeof createDesktopClient>;

/** Sends what a client on somebody's desk sends, to the letter, for a broker at `url` and the person at that desk. */
export function createDesktopClient(url: string, person: Person) {
  async function answerOf(response: Response): Promise<Answer> {
    return { status: response.status, body: (await response.json()) as Answer["body"] };
  }

  async function register(metadata: object): Promise<Answer> {
    const headers = { "content-type": "application/json" };
    return answerOf(await fetch(`${url}/oauth/register`, { method: "POST", headers, body: JSON.stringify({ ...usual, ...metadata }) }));
  }

  const token = async (fields: Fields): Promise<Answer> =>
    answerOf(await fetch(`${url}/oauth/token`, { method: "POST", body: new URLSearchParams(fields) }));

  /** What it sends the browser to, and what it redeems the answer with. */
  function login(client: string, redirectUri: string, more: Fields = {}) {
    const verifier = randomBytes(32).toString("base64url");
    const asked = new URL(`${url}/oauth/authorize`);
    const fields = {
      response_type: "code",
      client_id: client,
      redirect_uri: redirectUri,
      state: randomBytes(8).toString("hex"),
      code_challenge: createHash("sha256").update(verifier).digest("base64url"),
      code_challenge_method: "S256",
      ...more,
    };
    for (const [name, value] of Object.entries(fields)) asked.searchParams.set(name, value);
    return {
      url: asked,
      async redeem(back: URL): Promise<Answer["body"]> {
        expect(back.href.startsWith(`${redirectUri}?`)).toBe(true);
        expect(Object.fromEntries(back.searchParams)).toEqual({ code: expect.any(String), state: fields.state, iss: url });
        const { resource } = more;
        const { status, body } = await token({
          grant_type: "authorization_code",
          client_id: client,
          code: back.searchParams.get("code") ?? "",
          redirect_uri: redirectUri,
          code_verifier: verifier,
          ...(resource === undefined ? {} : { resource }),
        });
        expect(status, JSON.stringify(body)).toBe(200);
        return body;
      },
    };
  }

  return {
    register,
    token,
    login,

    /** The client id that it got. */
    async registered(metadata: object): Promise<string> {
      const { status, body } = await register(metadata);
      expect(status, JSON.stringify(body)).toBe(201);
      return String(body["client_id"]);
    },

    /** Signs in all the way, by the person's browser. Answers with the token response. */
    async signIn(client: string, redirectUri: string, more: Fields = {}): Promise<Answer["body"]> {
      const asked = login(client, redirectUri, more);
      return asked.redeem(await person.authorize(asked.url));
    },

    async whoami({ access_token: held }: Answer["body"]): Promise<Readonly<Record<string, unknown>>> {
      const response = await fetch(`${url}/mcp`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${String(held)}`,
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
          "mcp-protocol-version": "2025-06-18",
        },
        body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "whoami", arguments: {} } }),
      });
      const { result } = (await response.json()) as { readonly result: { readonly structuredContent: Record<string, unknown> } };
      return result.structuredContent;
    },
  };
}
