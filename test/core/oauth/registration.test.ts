import { randomBytes } from "node:crypto";
import { check, constantFrom, property, string } from "fast-check";
import { describe, expect, it } from "vitest";
import { isAgentName } from "../../../src/core/brand.ts";
import { operatorMetadata, publicKeys } from "../../../src/identity/operator-client.ts";
import { redirectProblem } from "../../../src/identity/redirect-uri.ts";
import { judge, requested } from "../../../src/oauth/client-metadata.ts";
import { documentAgentName, newAgentName } from "../../../src/oauth/registration-name.ts";

const everyone = { how: "registration", grants: [] } as const;

describe("redirect URIs", () => {
  it("OA-02 whatever is let in is https, the loopback interface, or Cursor's, to every parser alike", () => {
    const start = constantFrom("https://a.example", "http://localhost", "http://127.0.0.1", "http://[::1]", "https:", "http://", "");
    const found = check(
      property(start, string({ unit: "binary", maxLength: 12 }), (head, tail) => {
        const uri = `${head}${tail}`;
        if (redirectProblem(uri) !== undefined) return true;
        const url = new URL(uri);
        const loopback = url.protocol === "http:" && ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
        return (loopback || url.protocol === "https:") && url.username === "" && url.hash === "" && /^[!-~]+$/.test(uri);
      }),
      { numRuns: 3_000 },
    );
    expect(found.failed ? found.counterexample : undefined).toBeUndefined();
  });

  it("OA-02 each rule holds by itself", () => {
    for (const [uri, word] of [
      ["https://a.example/#", "fragment"],
      ["https://u@a.example/", "user"],
      ["https://a.example/%0a", "control"],
      ["https://a.example/../x", "dot segments"],
      ["https://*.example/", "wildcards"],
      ["http://a.example/", "must be https"],
      ["https://a.example:99999/", "valid"],
      [`https://a.example/${"x".repeat(2_048)}`, "2048"],
    ] as const)
      expect(redirectProblem(uri)).toContain(word);
  });

  it("what honest clients use passes", () => {
    for (const uri of [
      "https://claude.ai/api/mcp/auth_callback",
      "https://chatgpt.com/connector_platform_oauth_redirect?x=1&y=%2F",
      "http://127.0.0.1/",
      "http://127.0.0.1",
      "http://localhost:6274/oauth/callback",
      "http://[::1]:9/cb",
      "cursor://anysphere.cursor-mcp/oauth/callback",
    ])
      expect([uri, redirectProblem(uri)]).toEqual([uri, undefined]);
  });
});

describe("client metadata", () => {
  it("OA-06 nothing passes that is not on the list", () => {
    const asked = requested({ client_name: "x", scope: "admin", roles: ["a"], client_secret: "s", __proto__: { jwks_uri: "x" } });
    expect(asked).toEqual({ client_name: "x" });
    const judged = judge(
      {
        ...asked,
        redirect_uris: ["https://a.example/"],
        token_endpoint_auth_method: "none",
        grant_types: ["authorization_code", "password"],
        admin: true,
      },
      everyone,
    );
    expect(judged).toEqual({
      metadata: {
        client_name: "x",
        redirect_uris: ["https://a.example/"],
        token_endpoint_auth_method: "none",
        grant_types: ["authorization_code"],
        response_types: ["code"],
        application_type: "web",
      },
    });
  });

  it("a machine needs somebody who vouches for it, and a way to prove itself", () => {
    const machine = { grant_types: ["client_credentials"], token_endpoint_auth_method: "private_key_jwt", jwks: { keys: [] } };
    expect(judge(machine, everyone)).toMatchObject({ error: "invalid_client_metadata" });
    expect(judge(machine, { how: "registration", grants: ["client_credentials"] })).toMatchObject({
      metadata: { grant_types: ["client_credentials"] },
    });
    expect(
      judge({ ...machine, token_endpoint_auth_method: "none" }, { how: "registration", grants: ["client_credentials"] }),
    ).toMatchObject({ error: "invalid_client_metadata" });
  });
});

describe("names of agents that register themselves", () => {
  it("OA-04 are agent names, whatever they call themselves, and never the same twice", () => {
    const found = check(
      property(string({ unit: "binary", maxLength: 300 }), (called) => {
        const name = newAgentName(called, randomBytes);
        return isAgentName(name) && name !== newAgentName(called, randomBytes);
      }),
    );
    expect(found.failed ? found.counterexample : undefined).toBeUndefined();
    expect(documentAgentName("https://a.example/x")).toBe(documentAgentName("https://a.example/x"));
    expect(documentAgentName("https://a.example/x")).not.toBe(documentAgentName("https://a.example/y"));
  });
});

describe("clients of the operator", () => {
  const base = { name: "robot" as Parameters<typeof operatorMetadata>[0]["name"], redirectUris: [], dpop: false };

  it("prove themselves with keys or a secret, or people sign in to them", () => {
    expect(operatorMetadata({ ...base, secret: "s" })).toMatchObject({
      grant_types: ["client_credentials"],
      token_endpoint_auth_method: "client_secret_basic",
    });
    expect(operatorMetadata({ ...base, redirectUris: ["http://localhost/cb"], dpop: true })).toMatchObject({
      token_endpoint_auth_method: "none",
      application_type: "native",
      dpop_bound_access_tokens: true,
    });
    expect(() => operatorMetadata(base)).toThrow(TypeError);
    expect(() => operatorMetadata({ ...base, redirectUris: ["http://a.example/"] })).toThrow("must be https");
  });

  it("give public keys only", async () => {
    const { generateKeyPairSync } = await import("node:crypto");
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
    const jwk = publicKey.export({ format: "jwk" });
    expect(publicKeys(pem)).toEqual({ keys: [jwk] });
    expect(publicKeys(JSON.stringify(jwk))).toEqual({ keys: [jwk] });
    expect(publicKeys(JSON.stringify({ keys: [jwk] }))).toEqual({ keys: [jwk] });
    for (const wrong of [
      privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      JSON.stringify(privateKey.export({ format: "jwk" })),
      "{",
      "x",
      '{"keys":[]}',
      '{"kty":"oct","k":"x"}',
    ])
      expect(() => publicKeys(wrong)).toThrow(TypeError);
  });
});
