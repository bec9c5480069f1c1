import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { isLoopback } from "../config/loopback.ts";
import type { AgentName, CorrelationId, LeaseId } from "../core/brand.ts";
import { localPeer } from "../identity/local-peer.ts";
import { CommandError, exitForCode } from "./exit.ts";
import { credentialNamed } from "./given.ts";
import type { House } from "./house.ts";

/** Where `leasehold run` gets credentials from, and gives them back to. */
export interface Lender {
  borrow(what: string): Promise<Borrowed>;
  /** Ends the lease, at its target too. */
  giveBack(lease: string): Promise<void>;
  /** Environment variables that no command gets to see. */
  secretVariables(): Promise<readonly string[]>;
}

export interface Borrowed {
  readonly lease: string;
  readonly fields: Readonly<Record<string, string>>;
}

const tokenVariable = "LEASEHOLD_TOKEN";

/** Borrows as the agent, through the same door as every call: policy, quotas and audit apply. */
export function localLender(parts: {
  readonly house: House;
  readonly agent: AgentName;
  readonly purpose: string;
  readonly ttl: number | undefined;
  readonly now: () => number;
}): Lender {
  const { broker, config } = parts.house;
  const principal = localPeer({ agent: parts.agent, transport: "cli", now: parts.now });
  const correlation = (): CorrelationId => randomUUID() as CorrelationId;
  return {
    async borrow(what) {
      const granted = await broker.grant(principal, {
        credential: credentialNamed(what),
        delivery: "inject",
        purpose: parts.purpose,
        ...(parts.ttl === undefined ? {} : { ttl: parts.ttl }),
        correlation: correlation(),
      });
      if (granted.delivered.by !== "inject") throw new TypeError("asked for inject, got another delivery");
      const { lease, material } = await broker.redeem(principal, granted.delivered.handle, correlation());
      return { lease: lease.id, fields: parts.house.reveal(material) };
    },
    async giveBack(lease) {
      const { state } = await broker.revoke(principal, lease as LeaseId, correlation());
      if (state !== "revoked") throw new Error("not gone yet");
    },
    secretVariables: () =>
      Promise.resolve([
        tokenVariable,
        ...(config.seal.type === "passphrase" && config.seal.from && "env" in config.seal.from ? [config.seal.from.env] : []),
      ]),
  };
}

const deadline = 30_000;

/** Redeems one-time handles at a running broker. */
export function httpLender(parts: {
  readonly server: string;
  readonly tokenFile: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}): Lender {
  const base = baseOf(parts.server);

  async function post(path: string, body: object): Promise<Readonly<Record<string, unknown>>> {
    const response = await fetch(`${base}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${await tokenOf(parts)}`, "content-type": "application/json" },
      body: JSON.stringify(body),
      redirect: "error",
      signal: AbortSignal.timeout(deadline),
    }).catch(() => {
      throw new CommandError("unavailable", `the broker at ${base} does not answer`, "Is `leasehold serve` running there?");
    });
    const answer: unknown = await response.json().catch(() => undefined);
    const facts: Readonly<Record<string, unknown>> = typeof answer === "object" && answer !== null ? { ...answer } : {};
    if (response.ok) return facts;
    const said = typeof facts["error_description"] === "string" ? facts["error_description"] : `the broker answered ${response.status}`;
    throw new CommandError(response.status === 401 ? "refused" : exitForCode(String(facts["error"])), said);
  }

  return {
    async borrow(handle) {
      const { lease_id: lease, fields } = await post("/v1/handles/redeem", { handle });
      if (typeof lease !== "string" || typeof fields !== "object" || fields === null)
        throw new CommandError("unavailable", `${base} is no Leasehold broker`);
      return { lease, fields: Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)])) };
    },
    async giveBack(lease) {
      const { state } = await post(`/v1/leases/${encodeURIComponent(lease)}/revoke`, {});
      if (state !== "revoked") throw new Error("not gone yet");
    },
    secretVariables: () => Promise.resolve([tokenVariable]),
  };
}

/** The token and the values go over this connection: encrypted, or not at all off this machine. */
function baseOf(server: string): string {
  const url = URL.canParse(server) ? new URL(server) : undefined;
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:") || url.username !== "" || url.password !== "")
    throw new CommandError("usage", "--server: expected a URL like https://leasehold.example.com");
  if (url.protocol === "http:" && !isLoopback(url.hostname))
    throw new CommandError("usage", "--server: expected https; plain http is for this machine only");
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

async function tokenOf({
  tokenFile,
  env,
}: {
  readonly tokenFile: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}): Promise<string> {
  const token = tokenFile === undefined ? env[tokenVariable] : await readFile(tokenFile, "utf8").catch(() => undefined);
  if (token !== undefined && /^[\x21-\x7e]+$/.test(token.trim())) return token.trim();
  throw new CommandError(
    "refused",
    tokenFile === undefined ? `there is no token in ${tokenVariable}` : `${tokenFile}: there is no token in this file`,
    "Mint one with `leasehold agent token NAME`.",
  );
}
