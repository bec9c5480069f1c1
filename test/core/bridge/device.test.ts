import * as oauth from "oauth4webapi";
import { describe, expect, it } from "vitest";
import { signInByDevice } from "../../../src/bridge/sign-in.ts";
import { createWeb } from "../../../src/bridge/web.ts";

describe("device code", () => {
  async function signIn(answers: readonly object[], device: object = {}) {
    const left = [...answers];
    const waits: number[] = [];
    const said: string[] = [];
    const { signal } = new AbortController();
    const web = createWeb({
      signal,
      fetch: async (url) => {
        const body = url.endsWith("/device")
          ? {
              device_code: "the-device-code",
              user_code: "ABCD-EFGH",
              verification_uri: "https://b.example/device",
              expires_in: 600,
              ...device,
            }
          : (left.shift() ?? { error: "expired_token" });
        return Response.json(body, { status: "error" in body ? 400 : 200 });
      },
    });
    const issuer = "https://b.example";
    const answer = signInByDevice({
      web,
      realm: {
        as: { issuer, token_endpoint: `${issuer}/token`, device_authorization_endpoint: `${issuer}/device` },
        issuer: new URL(issuer),
        resource: `${issuer}/mcp`,
        scopes: [],
      },
      client: { client_id: "c" },
      proofs: undefined,
      scopes: undefined,
      tell: (line) => void said.push(line),
      open: undefined,
      wait: async (time) => void waits.push(time),
      signal,
    });
    return { answer: await answer.catch((thrown: unknown) => thrown), waits, said };
  }
  const token = { access_token: "t", token_type: "Bearer" };

  it("RFC 8628 §3.5: waits as long as it is told, and five seconds more after each slow_down", async () => {
    const pending = { error: "authorization_pending" };
    const slower = { error: "slow_down" };
    const { answer, waits } = await signIn([pending, slower, pending, slower, token], { interval: 2 });
    expect(answer).toMatchObject({ access_token: "t" });
    expect(waits).toEqual([2_000, 2_000, 7_000, 7_000, 12_000]);
    expect((await signIn([token])).waits).toEqual([5_000]);
  });

  it("ends when the code ran out or the person said no", async () => {
    for (const error of ["expired_token", "access_denied"])
      expect((await signIn([{ error }])).answer).toBeInstanceOf(oauth.ResponseBodyError);
  });

  it("MT-14: names a page that is https only, and no code that could move the cursor", async () => {
    expect((await signIn([token])).said).toEqual(["To sign in, open https://b.example/device and enter the code ABCD-EFGH"]);
    for (const odd of [{ verification_uri: "javascript:alert(1)" }, { verification_uri: "http://b.example/" }, { user_code: "\u001b[2J" }])
      expect(await signIn([token], odd)).toMatchObject({ answer: { name: "BridgeProblem" }, said: [] });
  });
});
