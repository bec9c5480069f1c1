import { hash } from "node:crypto";
import type { AgentName } from "../core/brand.ts";
import type { Actor } from "../core/event.ts";

/** An initial access token (RFC 7591 section 3): who brings it becomes an agent with exactly these roles. Times in milliseconds. */
export interface Invitation {
  readonly id: string;
  readonly roles: readonly string[];
  /** What the names of its agents start with. Absent: what the client calls itself. */
  readonly prefix?: AgentName;
  readonly usesLeft: number;
  readonly createdBy: string;
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly revoked: boolean;
}

export interface InvitationRecords {
  /** Together with `invitation.created`. */
  add(invitation: Invitation, digest: Uint8Array, by: Actor): Promise<void>;
  findByDigest(digest: Uint8Array): Promise<Invitation | undefined>;
  list(): Promise<readonly Invitation[]>;
  /** `false` when there is none of that id that was not revoked before. */
  revoke(id: string, by: Actor): Promise<boolean>;
  /** Forgets those that nobody can use any more since before this instant. */
  forget(before: number): Promise<void>;
}

export interface Invitations {
  /** The token is in the answer and nowhere else. */
  create(order: InvitationOrder, by: Actor): Promise<{ readonly invitation: Invitation; readonly token: string }>;
  /** The invitation behind a token, as long as it is good. Using it up is for `Clients.register`, in the commit of the client. */
  find(token: string): Promise<Invitation | undefined>;
  list(): Promise<readonly Invitation[]>;
  revoke(id: string, by: Actor): Promise<boolean>;
  prune(): Promise<void>;
}

interface InvitationOrder {
  readonly roles: readonly string[];
  readonly prefix?: AgentName;
  /** 1–10,000. */
  readonly uses: number;
  readonly ttlSeconds: number;
  readonly createdBy: string;
}

export interface InvitationsParts {
  readonly records: InvitationRecords;
  readonly now: () => number;
  readonly random: (bytes: number) => Uint8Array;
}

const shape = /^iat_[A-Za-z0-9_-]{43}$/;
/** How long a used-up or expired one is still listed. */
const remembered = 30 * 24 * 3_600_000;

export function createInvitations({ records, now, random }: InvitationsParts): Invitations {
  return {
    async create({ roles, prefix, uses, ttlSeconds, createdBy }, by) {
      const token = `iat_${Buffer.from(random(32)).toString("base64url")}`;
      const createdAt = now();
      const invitation: Invitation = {
        id: Buffer.from(random(6)).toString("hex"),
        roles,
        ...(prefix === undefined ? {} : { prefix }),
        usesLeft: uses,
        createdBy,
        createdAt,
        expiresAt: createdAt + ttlSeconds * 1000,
        revoked: false,
      };
      await records.add(invitation, digestOf(token), by);
      return { invitation, token };
    },

    async find(token) {
      if (!shape.test(token)) return undefined;
      const found = await records.findByDigest(digestOf(token));
      return found && isGood(found, now()) ? found : undefined;
    },

    list: () => records.list(),
    revoke: (id, by) => records.revoke(id, by),
    prune: () => records.forget(now() - remembered),
  };
}

export function isGood({ usesLeft, expiresAt, revoked }: Invitation, at: number): boolean {
  return !revoked && usesLeft > 0 && at < expiresAt;
}

function digestOf(token: string): Uint8Array {
  return hash("sha256", token, "buffer");
}
