import { randomBytes, randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { canonical } from "./audit/canonical.ts";
import { createCheckpointer } from "./audit/checkpointer.ts";
import { createLogStore, logFormat } from "./audit/format.ts";
import type { LogStore } from "./audit/log-store.ts";
import type { Config } from "./config/config.ts";
import { SetupError } from "./core/setup-error.ts";
import type { ConfigTables } from "./config/schema.ts";
import type { AgentName, CorrelationId } from "./core/brand.ts";
import { createBroker } from "./core/broker.ts";
import type { EventBody } from "./core/event.ts";
import { actorOf } from "./core/event.ts";
import { createJudge } from "./core/judge.ts";
import type { Catalogue } from "./core/catalogue.ts";
import type { CredentialEngine, Redactor, Vault } from "./core/ports.ts";
import { createRetirement, retirementDefaults } from "./core/retire.ts";
import type { Secret } from "./core/secret.ts";
import { createKeeper } from "./crypto/keeper.ts";
import { refreshEvery } from "./crypto/keyring.ts";
import type { KeyRows } from "./crypto/keys.ts";
import { keyRecords, loadOrCreateKey } from "./crypto/keys.ts";
import { openKeySet } from "./crypto/key-set.ts";
import { rotateSeal } from "./crypto/rotate.ts";
import type { SealConfig } from "./crypto/seal.ts";
import { createSealedJson } from "./crypto/sealed-json.ts";
import { createTotp } from "./crypto/totp.ts";
import { createKekSource, openSeal } from "./crypto/seal.ts";
import { createHttpPerformer } from "./delivery/http.ts";
import { createHandles } from "./delivery/inject.ts";
import { knownValues } from "./delivery/known-values.ts";
import { revealMaterial } from "./delivery/reveal.ts";
import { createSqlPerformer } from "./delivery/sql.ts";
import { every, following, forgetEnded, forwarding, inOrder, lookForOrphans } from "./duties.ts";
import { postgresEngine } from "./engines/postgres.ts";
import { staticEngine, staticHttpTarget } from "./engines/static.ts";
import { createAccessTokens, longestTtl } from "./identity/access-token.ts";
import { createAgents } from "./identity/agents.ts";
import { clientsOfConfig, createClients } from "./identity/clients.ts";
import { createInvitations } from "./identity/invitations.ts";
import { createPasswords } from "./identity/password.ts";
import { createUsers } from "./identity/users.ts";
import { instanceName, newLeaseId } from "./lease/identifier.ts";
import { createOperator } from "./lease/operator.ts";
import { createReaper } from "./lease/reaper.ts";
import { createSessions } from "./lease/session.ts";
import type { PolicyAuthorizer } from "./policy/cedar.ts";
import { deferAuthorizer } from "./policy/deferred.ts";
import { createOAuthSessions } from "./oauth/sessions.ts";
import { createKnownRedactor } from "./redact/known.ts";
import { createScrubber } from "./redact/stream.ts";
import type { FileSink } from "./sinks/file.ts";
import { createFileSink, fileSinkConfig } from "./sinks/file.ts";
import type { Face } from "./serving.ts";
import { serveOverHttp, speakOverStdio } from "./serving.ts";
import { createAgentRecords } from "./store/agent-records.ts";
import { createClientRecords, createSealedClients } from "./store/clients.ts";
import { createInvitationRecords } from "./store/invitations.ts";
import { createOAuthRecords } from "./store/oauth-records.ts";
import { createAuditLog, createLogRows, createPositions } from "./store/audit-log.ts";
import { createJournal } from "./store/journal.ts";
import { createDataKeyStore, createKeyRows, createMaterialRecords } from "./store/keys.ts";
import { createExposures, createHandleRows } from "./store/lease-rows.ts";
import { createLeaseBook } from "./store/leases.ts";
import { createSecretRows } from "./store/secrets.ts";
import { openSqlite } from "./store/sqlite.ts";
import { createRevocations } from "./store/tokens.ts";
import { createTotpRecords, createUserRecords } from "./store/users.ts";
import { version } from "./version.ts";
import { createEmbeddedVault, embeddedVaultConfig, secretRecords } from "./vaults/embedded.ts";

/** Everything that can be named in a configuration. A new engine, vault or sink is a file of its own and a row here. */
export const configTables: ConfigTables = {
  engines: [postgresEngine, staticEngine],
  vaults: [{ type: "embedded", schema: embeddedVaultConfig }],
  sinks: [{ type: "file", schema: fileSinkConfig, paths: ["path"] }],
};

export interface ComposeOptions {
  readonly config: Config;
  readonly logger: Logger;
  /** Asks a person, where the seal wants a passphrase and the configuration names no source. */
  readonly askPassphrase?: () => Promise<Secret>;
}

export type House = Awaited<ReturnType<typeof assemble>>;

type Closer = (close: () => Promise<void> | void) => void;

/** Puts the broker together. Whatever is wrong with its surroundings is a `SetupError`, and nothing is left open. */
export async function compose(options: ComposeOptions): Promise<House> {
  const opened: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (const one of opened.splice(0).toReversed()) await one();
  };
  try {
    return await assemble(options, (one) => opened.push(one), close);
  } catch (cause) {
    await close();
    throw cause;
  }
}

async function assemble(options: ComposeOptions, onClose: Closer, close: () => Promise<void>) {
  const { config, logger } = options;
  const now = Date.now;
  const instance = instanceName(randomUUID());
  const report = (err: unknown): void => logger.error({ err }, "a background duty met a problem");
  const record = (event: EventBody): void => void audit.append({ actor: { type: "broker" }, ...event }).catch(report);

  // Where everything rests, and the one way to write to it: a change and its audit events, in one durable commit.
  const database = await openSqlite(config.store.path, now);
  onClose(() => database.close());
  const journal = createJournal(database, logFormat, now);
  onClose(() => journal.drain());
  const audit = createAuditLog(journal);
  const log = createLogStore(createLogRows(database, journal));
  const leases = createLeaseBook(database, journal);

  // What opens the sealed values, and the broker's own keys.
  const dataKeys = createDataKeyStore(database, journal);
  const keyRows = createKeyRows(database, journal);
  const sealing = { config: sealConfig(config, options.askPassphrase), env: process.env, store: dataKeys, now };
  const seal = await openSeal(sealing);
  onClose(() => seal.close());
  await refuseLostKeys(log, keyRows);
  const digestKey = await loadOrCreateKey({ rows: keyRows, seal, name: "digests", kind: "hmac" });
  const checkpointKey = await loadOrCreateKey({ rows: keyRows, seal, name: "checkpoints", kind: "ed25519" });
  const tokenKeys = await openKeySet({
    rows: keyRows,
    seal,
    name: "access-tokens",
    every: config.oauth.keyRotation * 1000,
    keep: longestTtl * 1000 + 60_000,
    now,
    rotated: (key) => audit.append({ kind: "key.rotated", actor: { type: "broker" }, key }),
  });
  const keeper = createKeeper({ seal, digestKey: digestKey.secret, canonical });
  const checkpointer = createCheckpointer({ store: log, key: checkpointKey.privateKey, origin: originOf(config) });

  // Vaults, engines and performers, by the names that the configuration uses.
  const secretRows = Object.keys(config.vaults).map((name) => ({ name, rows: createSecretRows(database, journal, name) }));
  const vaults = Object.fromEntries(secretRows.map(({ name, rows }) => [name, createEmbeddedVault({ vault: name, rows, seal, now })]));
  const vault = (name: string): Vault => vaults[name] ?? missing(name);
  const postgres = postgresEngine.create({ vault });
  onClose(() => postgres.close());
  const engines: Readonly<Record<string, CredentialEngine>> = { postgres, static: staticEngine.create({ vault }) };
  const performers = [createSqlPerformer(), createHttpPerformer({ target: staticHttpTarget, scrubber: createScrubber })];
  for (const performer of performers) onClose(() => performer.close?.());

  // Who comes in: agents, the clients that they are, and the people for whom they act.
  const configured = new Map(config.agents.map((agent) => [agent.name, agent]));
  const agents = createAgents({ configured, records: createAgentRecords(database, journal, now) });
  const sealedJson = createSealedJson(seal);
  const revocations = createRevocations(database, journal, now);
  const clients = createClients({
    records: createClientRecords({ database, journal, sealed: sealedJson, now }),
    configured: clientsOfConfig(config.agents),
    limits: config.oauth.registration,
    ended: async ({ agent }) => void (await operator.end({ agent }, { type: "broker" })),
    now,
  });
  const invitations = createInvitations({ records: createInvitationRecords(database, journal, now), now, random: randomBytes });
  const users = createUsers({
    records: createUserRecords(database, journal, now),
    passwords: createPasswords(),
    codes: createTotp({ seal, now }),
    issuer: config.server.publicUrl,
    newId: () => newLeaseId(now(), randomBytes(10)),
    now,
  });
  const oauthRecords = createOAuthRecords({ database, journal, sealed: sealedJson, now });

  // Who may do what.
  const authorizer = deferAuthorizer(async () => {
    const { loadPolicies } = await import("./policy/load.ts");
    return loadPolicies(config.policy.directory, ({ policies, credential, ...error }) => {
      logger.error({ policies, credential, ...error }, "a policy could not be evaluated, so the request was denied");
      record({ kind: "policy.error", policies, credential });
    });
  });
  const policies = (): Promise<PolicyAuthorizer> => authorizer.ready();
  const entries = new Map(config.credentials.map((entry) => [entry.name, entry]));
  const catalogue: Catalogue = { find: (name) => entries.get(name), list: () => config.credentials };
  const sessions = createSessions({ now });
  const exposures = createExposures(database, journal, now);
  const judge = createJudge({ agents, catalogue, authorizer, exposures, sessions, audit, now });

  // What happens to leases, from grant to gone.
  const known = createKnownRedactor({ values: knownValues });
  const redactor: Redactor = {
    ...known,
    remember(lease, material) {
      known.remember(lease, material);
      const fields = known.tooShort(lease);
      if (fields.length > 0) logger.warn({ lease, fields }, "a value is too short to be found in results; make it longer");
    },
  };
  const retirement = createRetirement({
    leases,
    engines,
    performers,
    redactor,
    now,
    limits: retirementDefaults,
    alarm: ({ lease, attempts, stuck, cause }) => {
      const facts = { lease: lease.id, credential: lease.credential, attempts, err: cause };
      if (stuck) logger.error(facts, "STUCK: a credential is NOT revoked at its target; it goes on being retried");
      else logger.warn(facts, "a credential is not revoked yet; it is tried again");
    },
  });
  const handleRows = createHandleRows(database, journal);
  const broker = createBroker({
    judge,
    retirement,
    catalogue,
    authorizer,
    audit,
    leases,
    engines,
    performers,
    keeper,
    handles: createHandles({ rows: handleRows, audit, now, lifetime: 120_000 }),
    exposures,
    sessions,
    redactor,
    reveal: revealMaterial,
    newLeaseId: () => newLeaseId(now(), randomBytes(10)),
    now,
    instance,
    leasesPerAgent: config.limits.leasesPerAgent,
    mintDeadline: retirementDefaults.mintDeadline,
  });
  const operator = createOperator({ leases, retirement, catalogue, engines, audit, agents });
  const signIns = createOAuthSessions({
    grants: oauthRecords,
    revocations,
    audit,
    ended: { session: async (session) => void (await operator.end({ session }, { type: "broker" })) },
    now,
  });
  const reaper = createReaper({ leases, retirement, now, instance, report });

  // The faces.
  const tokens = createAccessTokens({
    keys: tokenKeys,
    issuer: config.server.publicUrl,
    audience: `${config.server.publicUrl}/mcp`,
    revocations,
    agents,
    users,
    clients,
    now,
  });
  const authorization = async () => {
    const { createAuthorization } = await import("./authorization.ts");
    const { secret: key } = await loadOrCreateKey({ rows: keyRows, seal, name: "oauth", kind: "hmac" });
    return createAuthorization({
      config,
      key,
      keys: tokenKeys,
      records: oauthRecords,
      sessions: signIns,
      tokens,
      agents,
      users,
      clients,
      invitations,
      vault,
      audit,
      report,
      logger,
      now,
    });
  };
  const newCorrelation = (): CorrelationId => randomUUID() as CorrelationId;
  const face: Face = {
    broker,
    called: (principal, tool) => sessions.called(principal, tool),
    refused: async (principal, tool, correlation) =>
      void (await audit.append({ kind: "tool.refused", actor: actorOf(principal), correlation, tool })),
    newCorrelation,
    logger,
    now,
    version,
  };

  const duties = inOrder([
    {
      start: () => record({ kind: "broker.started", instance, version }),
      stop: () => record({ kind: "broker.stopped", instance, version }),
    },
    every(refreshEvery, () => seal.refresh(), report),
    forwarding({ sinks: sinksOf(config), log, positions: createPositions(database, journal), logger }),
    every(config.audit.checkpointEvery * 1000, () => checkpointer.sign(), report),
    following({ directory: config.policy.directory, policies, record, logger }),
    every(60_000, () => handleRows.prune(now()), report),
    every(600_000, () => forgetEnded(known.leases(), leases, retirement), report),
    every(900_000, async () => lookForOrphans(await operator.sweep({ remove: false }), logger), report),
    { start: () => reaper.start(), stop: () => reaper.stop() },
  ]);

  const serving = { face, duties, policies, report };
  return {
    config,
    broker,
    agents,
    tokens,
    tokenKeys,
    revocations,
    signIns,
    clients,
    invitations,
    users,
    operator,
    reaper,
    vaults,
    audit,
    log,
    checkpointer,
    redactor,
    /** The policies in force, loaded on first use. Throws `SetupError` when they are broken. */
    policies,
    /** The one place where a lent value becomes plain text. */
    reveal: revealMaterial,
    exposures,
    engines,
    catalogue,
    leases,
    instance,
    duties,
    close,

    /** A new master key and data key, with every record moved to them. Running brokers go on meanwhile. */
    rotateSeal: () =>
      rotateSeal({
        seal,
        source: createKekSource(sealing.config, process.env),
        store: dataKeys,
        records: [
          ...secretRows.map(({ name, rows }) => secretRecords(rows, name)),
          keyRecords(keyRows),
          createMaterialRecords(database, journal),
          createSealedClients(database, journal),
          createTotpRecords(database, journal),
          oauthRecords.sealedRecords(),
        ],
        now,
      }),

    serve: (signal: AbortSignal, listening: (url: string) => void) =>
      serveOverHttp(
        { ...serving, tokens, agents, authorization, config, reveal: revealMaterial, record, newCorrelation, logger, now },
        signal,
        listening,
      ),
    speakStdio: (agent: AgentName, signal: AbortSignal) => speakOverStdio({ ...serving, agent, now }, signal),
  };
}

function missing(vault: string): never {
  throw new Error(`no vault named ${vault}`);
}

/** Made anew, a key that was deleted would orphan every checkpoint that it signed: that is for a person to decide. */
async function refuseLostKeys(log: LogStore, keys: KeyRows): Promise<void> {
  if ((await log.head()).size === 0 || (await keys.get("checkpoints"))) return;
  throw new SetupError({
    what: "The store has an audit log, but the key that signs it is gone",
    fix: "Restore the database from your backup.",
  });
}

/** A configuration without a source for the passphrase has a person asked. */
function sealConfig({ seal }: Config, ask: (() => Promise<Secret>) | undefined): SealConfig {
  if (seal.type === "file") return seal;
  if (seal.from) return { type: "passphrase", from: seal.from };
  if (ask) return { type: "passphrase", from: { prompt: ask } };
  throw new SetupError({
    what: "The seal wants a passphrase, and there is nobody to ask",
    fix: "Name its source in the configuration: `seal: { type: passphrase, from: { env: LEASEHOLD_PASSPHRASE } }`.",
  });
}

function sinksOf({ audit }: Config): Readonly<Record<string, FileSink>> {
  const files = audit.sinks.map((sink) => fileSinkConfig.parse(sink));
  return Object.fromEntries(files.map((file) => [`file:${file.path}`, createFileSink(file)]));
}

/** Names the log in its checkpoints: the same for all brokers of one public URL. */
function originOf({ server }: Config): string {
  return `leasehold/${new URL(server.publicUrl).host}`;
}
