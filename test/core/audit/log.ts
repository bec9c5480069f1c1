import { createPrivateKey } from "node:crypto";
import type { AgentName, CorrelationId, CredentialName, LeaseId } from "../../../src/core/brand.ts";
import type { AuditEvent } from "../../../src/core/event.ts";
import type { LogEntry, LogHead } from "../../../src/audit/append.ts";
import { emptyHead, extend } from "../../../src/audit/append.ts";
import type { LogStore } from "../../../src/audit/log-store.ts";

/** The Ed25519 key of RFC 8032 section 7.1, test 1. */
export const testKey = createPrivateKey({
  key: {
    kty: "OKP",
    crv: "Ed25519",
    d: Buffer.from("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "hex").toString("base64url"),
    x: Buffer.from("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "hex").toString("base64url"),
  },
  format: "jwk",
});

export const start = Date.UTC(2026, 10, 22, 12);

/** An allow of about the size that they have in life. Texts that try to look like an envelope come along. */
export function decided(n: number): AuditEvent {
  return {
    kind: "access.decided",
    actor: {
      type: "agent",
      agent: `reporter-${n % 3}` as AgentName,
      kind: "workload",
      session: `s${n}`,
      transport: "http",
      ip: "127.0.0.1",
    },
    correlation: `c${n}` as CorrelationId,
    action: "use",
    credential: "billing-db/readonly" as CredentialName,
    lease: `01k${String(n).padStart(23, "0")}` as LeaseId,
    delivery: "use",
    outcome: n % 4 === 3 ? "deny" : "allow",
    policies: ["reporters-read-billing"],
    bundle: "sha256:6a9f3a4ddc8f0a9f4e8d0e64c6dfe5d0e59b2b6f",
    ttl: 300,
    purpose: `monthly report ${n} ","prev":"x","seq":0} \u20ac \\`,
  };
}

export function makeLog(count: number, head: LogHead = emptyHead): { lines: Uint8Array[]; head: LogHead; entries: LogEntry[] } {
  const entries: LogEntry[] = [];
  let now = head;
  for (let n = head.size; n < head.size + count; n++) {
    const added = extend(now, [decided(n)], start + n * 1_000);
    entries.push(...added.entries);
    now = added.head;
  }
  return { lines: entries.map((entry) => entry.bytes), head: now, entries };
}

export interface MemoryLog extends LogStore {
  add(...events: readonly AuditEvent[]): void;
  readonly entries: LogEntry[];
  readonly notes: { size: number; note: string }[];
}

/** The reading port over an array. */
export function memoryLog(count = 0): MemoryLog {
  const made = makeLog(count);
  const entries = made.entries;
  let { head } = made;
  const notes: { size: number; note: string }[] = [];
  return {
    entries,
    notes,
    add(...events) {
      const added = extend(head, events, start + head.size * 1_000);
      entries.push(...added.entries);
      head = added.head;
    },
    head: async () => head,
    read: async (from, limit) => entries.filter((entry) => entry.seq >= from).slice(0, limit),
    saveCheckpoint: async (size, note) => void notes.push({ size, note }),
    checkpoints: async () => notes,
  };
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
