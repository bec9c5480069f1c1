import { createPublicKey, generateKeyPairSync, hash, randomUUID } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { calculateJwkThumbprint, decodeProtectedHeader, EmbeddedJWK, jwtVerify } from "jose";
import { pino } from "pino";
import { z } from "zod";
import { compose, configTables } from "../src/compose.ts";
import { loadConfig } from "../src/config/load.ts";
import type { AgentName } from "../src/core/brand.ts";
import { createDpop } from "../src/identity/dpop.ts";
import { signJws } from "../src/identity/jws.ts";
import { answerAsks, setupOf } from "./ask.ts";
import { agent } from "./world.ts";

/** What one MCP call pays for knowing its caller: by us, with all that is looked up, and by `jose` alone, which looks nothing up. */
const { configFile } = setupOf(z.object({ configFile: z.string() }));
const house = await compose({ config: await loadConfig(configFile, configTables), logger: pino({ level: "error" }, pino.destination(2)) });

const proofKey = generateKeyPairSync("ec", { namedCurve: "P-256" });
const { kty, crv, x, y } = proofKey.publicKey.export({ format: "jwk" });
const jwk = { kty, crv, x, y };
const jkt = await calculateJwkThumbprint({ kty: "EC", crv: "P-256", x: String(x), y: String(y) });
const url = "http://127.0.0.1/mcp";
const from = { transport: "http", sourceIp: "127.0.0.1" } as const;
const dpop = createDpop({ now: Date.now, remembered: 5_000_000 });

interface Presented {
  readonly token: string;
  readonly proof: string;
}

const bare = mint(false);
const claims = z
  .object({ iss: z.string(), aud: z.string() })
  .parse(JSON.parse(Buffer.from(bare.split(".")[1] ?? "", "base64url").toString()));
const expected = { issuer: claims.iss, audience: claims.aud, typ: "at+jwt", algorithms: ["ES256"] };
const publicKey = keyOf(bare);

function keyOf(token: string): KeyObject {
  const key = house.tokenKeys.find(String(decodeProtectedHeader(token).kid));
  if (!key) throw new Error("no key");
  return createPublicKey(key.export({ format: "pem", type: "spki" }));
}

function mint(bound: boolean): string {
  return house.tokens.mint({ agent: agent as AgentName, ttlSeconds: 3_600, ...(bound ? { bound: { jkt } } : {}) }).token;
}

function prove(token: string): string {
  const ath = hash("sha256", token, "base64url");
  return signJws(
    {
      header: { typ: "dpop+jwt", alg: "ES256", jwk },
      payload: { jti: randomUUID(), htm: "POST", htu: url, iat: Math.floor(Date.now() / 1000), ath },
    },
    proofKey.privateKey,
  );
}

const checks: Readonly<Record<string, (one: Presented) => Promise<unknown>>> = {
  async jose_bearer({ token }) {
    await jwtVerify(token, publicKey, expected);
  },
  async jose_dpop({ token, proof }) {
    const { payload } = await jwtVerify(token, publicKey, expected);
    const proved = await jwtVerify(proof, EmbeddedJWK, { typ: "dpop+jwt", algorithms: ["ES256"] });
    const { jkt: bound } = z.object({ jkt: z.string() }).parse(payload["cnf"]);
    if (
      (await calculateJwkThumbprint(
        z.object({ kty: z.literal("EC"), crv: z.string(), x: z.string(), y: z.string() }).parse(proved.protectedHeader.jwk),
      )) !== bound
    )
      throw new Error("not its key");
  },
  verify_bearer: async ({ token }) => house.tokens.principal(token, from),
  async verify_dpop({ token, proof }) {
    const proved = dpop.check(proof, { method: "POST", url, token });
    await house.tokens.principal(token, { ...from, proved });
    dpop.spend(proved);
  },
};

const asked = z.object({ check: z.string(), fresh: z.boolean(), milliseconds: z.number() });
/** As many as are used up in a second here, and more; made outside of what is measured. */
const batch = 12_000;

/** With fresh tokens each is seen once; else sixteen come again and again, as those of agents at work do. */
async function verify(input: unknown) {
  const { check, fresh, milliseconds } = asked.parse(input);
  const run = checks[check];
  if (!run) throw new Error(check);
  const bound = check.endsWith("dpop");
  const tokens = Array.from({ length: fresh ? batch : 16 }, () => mint(bound));
  const presented = Array.from({ length: batch * (fresh || bound ? 1 : 10) }, (_, i) => {
    const token = tokens[i % tokens.length] ?? "";
    return { token, proof: bound ? prove(token) : "" };
  });
  if (!fresh) for (const token of tokens) house.tokens.verify(token);
  const latencies: number[] = [];
  const start = performance.now();
  for (let begin = start; begin - start < milliseconds && latencies.length < presented.length;) {
    const one = presented[latencies.length];
    if (one) await run(one);
    const end = performance.now();
    latencies.push((end - begin) * 1000);
    begin = end;
  }
  return { milliseconds: performance.now() - start, latencies: Float64Array.from(latencies), failed: 0 };
}

answerAsks({ verify }, () => house.close());
