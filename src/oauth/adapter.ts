import type { Adapter, AdapterFactory, AdapterPayload } from "oidc-provider";
import type { Actor } from "../core/event.ts";
import type { JsonObject } from "../core/json.ts";
import type { RecordAdapter } from "./parts.ts";
import type { OAuthSessions } from "./sessions.ts";
import type { Claimant } from "./standing.ts";

/** Where the records rest; `src/store/oauth-records.ts` makes one. */
export interface Records {
  find(model: string, id: string): Promise<JsonObject | undefined>;
  findByLookup(model: string, lookup: string): Promise<JsonObject | undefined>;
  put(model: string, id: string, payload: JsonObject, facts: RecordFacts): Promise<void>;
  update(model: string, id: string, payload: JsonObject, facts: RecordFacts): Promise<void>;
  consume(model: string, id: string): Promise<boolean>;
  release(model: string, id: string): Promise<void>;
  claim(model: string, id: string, expiresAt: number, payload?: JsonObject): Promise<boolean>;
  remove(model: string, id: string): Promise<void>;
}

interface RecordFacts {
  readonly grant?: string;
  readonly lookup?: string;
  readonly client?: string;
  readonly account?: string;
  readonly expiresAt?: number;
}

export interface AdapterParts {
  readonly records: Records;
  readonly sessions: Pick<OAuthSessions, "end" | "replayed">;
  readonly clients: RecordAdapter;
  /** Throws the provider's errors when whoever brings a code or refresh token is not to get anything for it. */
  readonly standing: (claimant: Claimant) => Promise<unknown>;
  /** What the provider is to be told of a failure of ours. */
  readonly failed: (cause: unknown) => unknown;
  /** The error that says that a code or refresh token is no good. */
  readonly invalidGrant: (why: string) => Error;
  /** The request that is being answered: who makes it, and what was used twice if it turns out to be a replay. */
  readonly request: () => { readonly by: Actor; readonly replay?: "code" | "refresh-token" };
  readonly now: () => number;
}

/** Models that belong to a sign-in and go with it. */
const ofGrants: ReadonlySet<string> = new Set(["AuthorizationCode", "RefreshToken", "DeviceCode"]);
const secondId: Readonly<Record<string, "uid" | "userCode">> = { Session: "uid", DeviceCode: "userCode" };

/** The provider's models over our store. */
export function createAdapter(parts: AdapterParts): AdapterFactory {
  const { records, sessions, clients, now } = parts;

  function factsOf(model: string, id: string, payload: AdapterPayload, expiresIn: number | undefined): RecordFacts {
    const { grantId, clientId, accountId } = payload;
    const grant = model === "Grant" ? id : ofGrants.has(model) ? grantId : undefined;
    const second = secondId[model];
    const lookup = second && payload[second];
    return {
      ...(grant === undefined ? {} : { grant }),
      ...(typeof lookup === "string" ? { lookup } : {}),
      ...(clientId === undefined ? {} : { client: clientId }),
      ...(accountId === undefined ? {} : { account: accountId }),
      ...(expiresIn === undefined ? {} : { expiresAt: now() + expiresIn * 1000 }),
    };
  }

  async function endGrant(grant: string): Promise<void> {
    const { by, replay } = parts.request();
    await (replay ? sessions.replayed(replay, grant, by) : sessions.end(grant, by));
  }

  /** Before it is used up: nobody loses a sign-in to a refusal that will pass, such as a freeze. */
  async function admit({ clientId, accountId, grantId }: AdapterPayload): Promise<void> {
    if (clientId === undefined) return;
    const since = grantId === undefined ? undefined : (await records.find("Grant", grantId))?.["iat"];
    const signIn = grantId === undefined || typeof since !== "number" ? undefined : { session: grantId, since: Math.round(since * 1000) };
    await parts.standing({ client: clientId, account: accountId, signIn });
  }

  /** Only the first use counts. Whoever comes later, even at the same moment, ends the sign-in for all: one of them stole it. */
  async function consume(model: string, id: string): Promise<void> {
    const payload: AdapterPayload | undefined = await records.find(model, id);
    if (payload && ofGrants.has(model)) await admit(payload);
    if (await records.consume(model, id)) return;
    if (payload?.grantId !== undefined) await endGrant(payload.grantId);
    throw parts.invalidGrant("it was used before");
  }

  async function put(model: string, id: string, payload: AdapterPayload, expiresIn: number | undefined): Promise<void> {
    const facts = factsOf(model, id, payload, expiresIn);
    if (model === "ReplayDetection") {
      // The provider has looked already; of those who looked at the same moment, one may go on.
      if (await records.claim(model, id, facts.expiresAt ?? Infinity, jsonOf(payload))) return;
      throw parts.invalidGrant("a proof or assertion was used before");
    }
    if (model !== "Grant") return records.put(model, id, jsonOf(payload), facts);
    // With fractions of a second, so that "every sign-in from before now" is exact.
    const iat = (await records.find(model, id))?.["iat"] ?? now() / 1000;
    return records.put(model, id, { ...jsonOf(payload), iat }, facts);
  }

  async function guarded<T>(work: Promise<T>): Promise<T> {
    return work.catch((cause: unknown) => {
      throw parts.failed(cause);
    });
  }

  function recordsOf(model: string): Adapter {
    return {
      upsert: (id, payload, expiresIn) => guarded(put(model, id, payload, expiresIn)),
      find: (id) => records.find(model, id),
      findByUid: (uid) => records.findByLookup(model, uid),
      findByUserCode: (userCode) => records.findByLookup(model, userCode),
      consume: (id) => guarded(consume(model, id)),
      destroy: (id) => guarded(records.remove(model, id)),
      // The provider asks this of every model of a grant, at a replay and at a revocation. It is one act for us.
      revokeByGrantId: async (grantId) => (model === "AccessToken" ? guarded(endGrant(grantId)) : undefined),
    };
  }

  const clientAdapter: Adapter = {
    ...recordsOf("Client"),
    find: (id) => clients.find(id),
    upsert: (id, payload, expiresIn) => guarded(clients.upsert(id, jsonOf(payload), expiresIn)),
    destroy: (id) => guarded(clients.destroy(id)),
  };

  return (model) => (model === "Client" ? clientAdapter : recordsOf(model));
}

/** Without what is `undefined`, and with nothing that is not JSON. */
function jsonOf(payload: object): JsonObject {
  return JSON.parse(JSON.stringify(payload)) as JsonObject;
}
