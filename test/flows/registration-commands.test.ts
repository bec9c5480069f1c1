import { generateKeyPairSync } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Handler, Run } from "../../src/cli/command.ts";
import { addClient, list, revoke, show } from "../../src/cli/commands/client.ts";
import * as invitations from "../../src/cli/commands/invite.ts";
import { given } from "../../src/cli/given.ts";
import type { House } from "../../src/cli/house.ts";
import { createScreen } from "../../src/cli/screen.ts";
import type { AgentName } from "../../src/core/brand.ts";
import type { RegistrationHouse } from "./registration-house.ts";
import { openRegistrationHouse } from "./registration-house.ts";

let house: RegistrationHouse;
beforeAll(async () => {
  house = await openRegistrationHouse({ agents: [{ name: "fixed" as AgentName, redirectUris: ["https://a.example/"] }] });
});
afterAll(() => house.close());

function sink() {
  const chunks: Buffer[] = [];
  const stream = new Writable({ write: (chunk: Buffer, _, done) => (chunks.push(chunk), done()) });
  return { stream, text: () => Buffer.concat(chunks).toString() };
}

async function perform(handler: Handler, args: readonly string[], options: Record<string, unknown> = {}) {
  const { json, ...rest } = options;
  const [out, err] = [sink(), sink()];
  const parts = { clients: house.clients, invitations: house.invitations, agents: house.agents };
  const config = { server: { publicUrl: house.issuer }, agents: [{ name: "fixed" }] };
  const run = {
    args,
    given: given(rest),
    screen: createScreen({ stdout: out.stream, stderr: err.stream, json: json === true, verbose: false }),
    json: json === true,
    configFile: "leasehold.yaml",
    now: () => house.clock.now,
    house: async () => ({ ...parts, config }) as unknown as House,
  } as unknown as Run;
  await handler(run);
  return { out: out.text(), err: err.text() };
}

const add =
  (name: string): Handler =>
  async (run) => {
    expect(await addClient(run, await run.house(), { name: name as AgentName, roles: ["r"] })).toBe(true);
    return "ok";
  };

describe("commands for clients and invitations", () => {
  it("an invitation's token is all that stdout gets, and it works", async () => {
    const { out, err } = await perform(invitations.invite, [], { role: ["tickets,triage"], uses: "2", ttl: "1h", name: "ci" });
    expect(out).toMatch(/^iat_[A-Za-z0-9_-]{43}\n$/);
    expect(err).toContain("Good 2 times within 1h, for roles: tickets, triage.");
    const body = { client_name: "x", redirect_uris: ["https://a.example/"], token_endpoint_auth_method: "none" };
    const registered = await house.register(body, { token: out.trim() });
    expect(registered.body["client_id"]).toMatch(/^ci-/);

    const listed = await perform(invitations.list, [], { json: true });
    const [only] = JSON.parse(listed.out) as [{ id: string }];
    expect(only).toMatchObject({ roles: ["tickets", "triage"], name: "ci", usesLeft: 1, state: "good" });
    expect((await perform(invitations.revoke, [only.id])).out).toContain("is revoked");
    expect((await perform(invitations.list, [])).out).toMatch(/revoked\n$/);
    await expect(perform(invitations.revoke, [only.id])).rejects.toMatchObject({ exit: "notFound" });
    expect((await house.register(body, { token: out.trim() })).status).toBe(401);
  });

  it("wants roles, and bounds for the rest", async () => {
    for (const options of [{}, { role: ["r"], uses: "10001" }, { role: ["r"], ttl: "31d" }, { role: ["r"], name: "x".repeat(41) }])
      await expect(perform(invitations.invite, [], options)).rejects.toMatchObject({ exit: "usage" });
  });

  it("adds an agent with a secret, keys or redirect URIs", async () => {
    const secret = await perform(add("robot"), [], { secret: true });
    expect(secret.out).toMatch(/^[A-Za-z0-9_-]{43}\n$/);
    const basic = `Basic ${Buffer.from(`robot:${secret.out.trim()}`).toString("base64")}`;
    expect((await house.token({ grant_type: "client_credentials" }, basic)).status).toBe(200);

    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const file = join(house.folder, "key.pem");
    await writeFile(file, publicKey.export({ type: "spki", format: "pem" }));
    await perform(add("keyed"), [], { key: file, dpop: true });
    expect(await house.clients.metadata("keyed")).toMatchObject({
      token_endpoint_auth_method: "private_key_jwt",
      dpop_bound_access_tokens: true,
    });
    await writeFile(file, privateKey.export({ type: "pkcs8", format: "pem" }));
    await expect(perform(add("leak"), [], { key: file })).rejects.toMatchObject({ exit: "usage" });

    await perform(add("desk"), [], { redirectUri: ["http://127.0.0.1/cb"] });
    expect((await house.authorize("desk", "http://127.0.0.1:81/cb")).status).toBe(303);
    expect(await house.agents.find("desk" as AgentName)).toMatchObject({ roles: ["r"], registeredBy: "operator" });
    for (const [name, options] of [
      ["bad", { redirectUri: ["http://a.example/"] }],
      ["bad", { dpop: true }],
      ["bad", { key: "/nonexistent" }],
      ["fixed", { secret: true }],
    ] as const)
      await expect(perform(add(name), [], options)).rejects.toMatchObject({ exit: "usage" });
  });

  it("lists, shows and removes clients; never their secret", async () => {
    const { out } = await perform(list, [], { json: true });
    expect((JSON.parse(out) as { id: string }[]).map(({ id }) => id)).toEqual(expect.arrayContaining(["desk", "fixed", "keyed", "robot"]));
    expect((await perform(list, [])).out).toMatch(/^CLIENT +AGENT +SOURCE +CREATED +LAST USED +STATE\n/);
    const shown = (await perform(show, ["robot"], { json: true })).out;
    expect(JSON.parse(shown)).toMatchObject({ id: "robot", state: "active", metadata: { grant_types: ["client_credentials"] } });
    expect(shown).not.toContain('client_secret"');
    expect((await perform(revoke, ["robot"])).out).toContain("Removed client robot");
    expect(house.ended).toContain("robot");
    for (const [id, exit] of [
      ["robot", "notFound"],
      ["nobody", "notFound"],
      ["fixed", "usage"],
    ] as const)
      await expect(perform(revoke, [id])).rejects.toMatchObject({ exit });
  });
});
