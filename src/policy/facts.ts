import { isIP } from "node:net";

import type { CedarValueJson, Context, EntityJson, TypeAndId } from "@cedar-policy/cedar-wasm/nodejs";

import type { Question } from "../core/decision.ts";
import type { OperationFacts } from "../core/request.ts";
import { unreachable } from "../core/unreachable.ts";

/** A question in Cedar's terms: two or three entities, however large the catalogue is. */
export interface Facts {
  readonly principal: TypeAndId;
  readonly action: TypeAndId;
  readonly resource: TypeAndId;
  readonly roles: readonly TypeAndId[];
  readonly folders: readonly TypeAndId[];
}

/** UTF-16 units in one text, and members in one set. What is longer is not cut, which could hide what a `forbid` looks for: it is denied. */
const maxText = 8_192;
const maxMembers = 4_096;
/** The end of the year 9999, after which an ISO date has another form. */
const maxInstant = 253_402_300_799_999;

/**
 * Why these facts cannot be judged, or `undefined` when they can. Types are checked anew although the
 * compiler did: a value that slipped through a face as an object could pose as an entity.
 */
export function unfit(question: Question): string | undefined {
  const { principal, agent, entry, operation, session } = question;
  if (principal.agent !== agent.name) return "the principal and the agent's record are not the same agent";

  const said = [question.purpose, ...optional(question.ticket)];
  const asker = [agent.name, ...agent.roles, agent.registeredBy, principal.kind, principal.transport, principal.authenticated.method];
  const user = principal.onBehalfOf;
  const known = optional(agent.owner, principal.sourceIp, principal.client, user?.subject, user?.issuer, user?.email);
  const asked = [question.action, entry.name, entry.engine, ...Object.entries(entry.labels).flat()];
  const texts = [said, asker, known, asked].flat();
  if (!texts.every(isText)) return `a text is not one, or longer than ${maxText}`;

  const sets = [principal.chain, user?.teams ?? [], session.lentLabels, session.calledTools, question.approvals, ...setsOf(operation)];
  if (!sets.every((set) => Array.isArray(set) && set.length <= maxMembers && set.every(isText)))
    return `a set is not one of texts, or larger than ${maxMembers}`;

  const numbers = [question.ttl, question.now, principal.authenticated.at, session.startedAt, session.leases];
  if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0)) return "a number is not a whole one between 0 and 2^53 - 1";
  if (question.now > maxInstant) return "the clock is past the year 9999";

  const flags = [agent.frozen, agent.disabled, question.exposed, principal.authenticated.senderConstrained];
  if (!flags.every((flag) => typeof flag === "boolean")) return "a flag is neither true nor false";
  if (principal.sourceIp !== undefined && address(principal.sourceIp) === undefined) return "the source address is not an IP address";
  return undefined;
}

export function factsOf(question: Pick<Question, "agent" | "action" | "entry">): Facts {
  const { agent, action, entry } = question;
  return {
    principal: uid("Agent", agent.name),
    action: uid("Action", action),
    resource: uid("Credential", entry.name),
    roles: agent.roles.map((role) => uid("Role", role)),
    folders: foldersOf(entry.name).map((folder) => uid("Folder", folder)),
  };
}

export function entitiesOf(question: Question, facts: Facts): EntityJson[] {
  const { principal, agent, entry } = question;
  const entities: EntityJson[] = [
    {
      uid: facts.principal,
      attrs: {
        kind: principal.kind,
        registeredBy: agent.registeredBy,
        frozen: agent.frozen,
        ...(agent.owner === undefined ? {} : { owner: agent.owner }),
      },
      parents: [...facts.roles],
    },
    {
      uid: facts.resource,
      attrs: { engine: entry.engine, exposed: question.exposed },
      parents: [...facts.folders],
      tags: { ...entry.labels },
    },
  ];
  const user = principal.onBehalfOf;
  if (user)
    entities.push({
      uid: userOf(user),
      attrs: { issuer: user.issuer, ...(user.email === undefined ? {} : { email: user.email }) },
      parents: user.teams.map((team) => uid("Team", `${user.issuer}#${team}`)),
    });
  return entities;
}

export function contextOf(question: Question): Context {
  const { principal, session, now } = question;
  const { authenticated } = principal;
  const from = principal.sourceIp === undefined ? undefined : address(principal.sourceIp);
  return {
    purpose: question.purpose,
    ttl: question.ttl,
    transport: principal.transport,
    now: { __extn: { fn: "datetime", arg: new Date(now).toISOString() } },
    authenticated: {
      method: authenticated.method,
      senderConstrained: authenticated.senderConstrained,
      ageSeconds: secondsBetween(authenticated.at, now),
    },
    session: {
      ageSeconds: secondsBetween(session.startedAt, now),
      leases: session.leases,
      lentLabels: [...session.lentLabels],
      calledTools: [...session.calledTools],
    },
    approvals: [...question.approvals],
    chain: [...principal.chain],
    ...(principal.client === undefined ? {} : { client: principal.client }),
    ...(question.ticket === undefined ? {} : { ticket: question.ticket }),
    ...(from === undefined ? {} : { sourceIp: { __extn: { fn: "ip", arg: from } } }),
    ...(principal.onBehalfOf ? { onBehalfOf: { __entity: userOf(principal.onBehalfOf) } } : {}),
    ...(question.operation ? operationOf(question.operation) : {}),
  };
}

function operationOf(operation: OperationFacts): Record<string, CedarValueJson> {
  switch (operation.kind) {
    case "http":
      return { http: { method: operation.method, host: operation.host, path: operation.path } };
    case "sql":
      return { sql: { verbs: [...operation.verbs], tables: [...operation.tables] } };
    default:
      return unreachable(operation);
  }
}

/** The texts of an operation, as sets, to be checked with the others. */
function setsOf(operation: OperationFacts | undefined): readonly (readonly unknown[])[] {
  if (!operation) return [];
  switch (operation.kind) {
    case "http":
      return [[operation.method, operation.host, operation.path]];
    case "sql":
      return [operation.verbs, operation.tables];
    default:
      return unreachable(operation);
  }
}

function uid(type: string, id: string): TypeAndId {
  return { type: `Leasehold::${type}`, id };
}

/** An issuer has no `#` in it (RFC 8414 section 2: no fragment), so two users cannot meet in one id. */
function userOf(user: { readonly subject: string; readonly issuer: string }): TypeAndId {
  return uid("User", `${user.issuer}#${user.subject}`);
}

/** `a` and `a/b` for `a/b/c`. */
function foldersOf(name: string): readonly string[] {
  const parts = name.split("/");
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"));
}

/** A clock that was set back in between counts as no time at all. */
function secondsBetween(from: number, to: number): number {
  return Math.max(0, Math.floor((to - from) / 1000));
}

const mapped = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/;

/** One form per address: an IPv4 address that came in as IPv6 is judged as what it is, a zone is dropped. `undefined` for what is none. */
function address(text: string): string | undefined {
  if (isIP(text) === 4) return text;
  if (isIP(text) !== 6) return undefined;
  const { hostname } = new URL(`http://[${text.replace(/%.*$/, "")}]`);
  const [, high, low] = mapped.exec(hostname) ?? [];
  if (high === undefined || low === undefined) return hostname.slice(1, -1);
  const bits = parseInt(high, 16) * 0x1_0000 + parseInt(low, 16);
  return [24, 16, 8, 0].map((shift) => Math.floor(bits / 2 ** shift) % 256).join(".");
}

function isText(value: unknown): boolean {
  return typeof value === "string" && value.length <= maxText && value.isWellFormed();
}

function optional(...values: readonly unknown[]): readonly unknown[] {
  return values.filter((value) => value !== undefined);
}
