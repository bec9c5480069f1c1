import { randomUUID } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { z } from "zod";
import { signJws } from "../src/identity/jws.ts";
import type { Child } from "./ask.ts";
import { startChild } from "./ask.ts";
import type { Result, Screen } from "./result.ts";
import type { Case } from "./rounds.ts";
import { costed, inTurn, stretch } from "./rounds.ts";
import type { Server } from "./servers.ts";
import { startBroker, startLoad } from "./servers.ts";
import type { World } from "./world.ts";
import { agent, createWorld } from "./world.ts";

export interface TokenOptions {
  readonly rounds: number;
  readonly wanted: (name: string) => boolean;
}

/** The token endpoint: client_credentials with private_key_jwt, each assertion new, each token durable in the audit log before it leaves. */
export async function measureTokenEndpoint(screen: Screen, { rounds, wanted }: TokenOptions): Promise<readonly Result[]> {
  const levels = [1, 16, 64].filter((level) => wanted(`token_endpoint.c${level}`));
  if (levels.length === 0) return [];
  screen.heading("Token endpoint (client_credentials with private_key_jwt)");
  const world = await createWorld();
  const broker = await startBroker(world);
  const load = await startLoad();
  try {
    const one: Case = { name: "token_endpoint", stretch: (connections) => ask(load, broker, world, connections) };
    await one.stretch(16, 1_000);
    const results: Result[] = [];
    for (const connections of levels) results.push(...(await inTurn({ cases: [one], connections, rounds })));
    for (const result of results) screen.result(result);
    return results;
  } finally {
    await load.stop();
    await broker.child.stop();
    await world.remove();
  }
}

/** More than a second's worth. An assertion is good once. */
const assertions = 4_000;

async function ask(load: Child, { port, child }: Server, { key }: World, connections: number) {
  const requests = Array.from({ length: assertions }, () => tokenRequest(port, assertion(key)));
  await load.ask("open", z.unknown(), { port, connections, requests });
  try {
    return await costed(child, () => load.ask("run", stretch, { milliseconds: 1_000, most: assertions - 1 }));
  } finally {
    await load.ask("close", z.unknown());
  }
}

function assertion(key: KeyObject): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: agent, sub: agent, aud: "http://127.0.0.1:0", jti: randomUUID(), iat: now, exp: now + 60 };
  return signJws({ header: { alg: "ES256", typ: "JWT" }, payload: claims }, key);
}

function tokenRequest(port: number, proof: string): string {
  const body = new URLSearchParams({
    grant_type: "client_credentials",
    client_id: agent,
    client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    client_assertion: proof,
  }).toString();
  const head = ["POST /oauth/token HTTP/1.1", `Host: 127.0.0.1:${port}`, "Content-Type: application/x-www-form-urlencoded"];
  return [...head, `Content-Length: ${Buffer.byteLength(body)}`, "", body].join("\r\n");
}

/** `_new`: a token that was not seen before. Without: one of sixteen that come again and again. A proof is new each time. */
const plans = [
  { name: "jose_bearer", check: "jose_bearer", fresh: true },
  { name: "verify_bearer_new", check: "verify_bearer", fresh: true, against: "jose_bearer" },
  { name: "verify_bearer", check: "verify_bearer", fresh: false, against: "jose_bearer" },
  { name: "jose_dpop", check: "jose_dpop", fresh: true },
  { name: "verify_dpop_new", check: "verify_dpop", fresh: true, against: "jose_dpop" },
  { name: "verify_dpop", check: "verify_dpop", fresh: false, against: "jose_dpop" },
] as const;

/** Knowing the caller: signature, claims, revocation, agent and client, against signature and claims by `jose` alone. */
export async function measureTokens(screen: Screen, { rounds, wanted }: TokenOptions): Promise<readonly Result[]> {
  if (!plans.some(({ name }) => wanted(name))) return [];
  screen.heading("Verification of access tokens (to bare: against jose, which looks nothing up)");
  const world = await createWorld();
  const child = await startChild("token.child.ts", "measured", { configFile: world.configFile });
  try {
    const cases = plans.map(({ name, check, fresh, ...more }): Case => {
      const against = "against" in more ? { against: more.against } : {};
      // Making the tokens costs more than what is measured, so the CPU time of the process says nothing.
      const measure = async (_: number, milliseconds: number) => ({
        ...(await child.ask("verify", stretch, { check, fresh, milliseconds })),
        cpu: Number.NaN,
      });
      return { name, ...against, stretch: measure };
    });
    for (const one of cases) await one.stretch(1, 300);
    const results = (await inTurn({ cases, connections: 1, rounds })).map((result) => ({
      ...result,
      name: result.name.replace(/\.c1$/, ""),
      cpu_us_per_call: null,
    }));
    for (const result of results) screen.result(result);
    return results;
  } finally {
    await child.stop();
    await world.remove();
  }
}
