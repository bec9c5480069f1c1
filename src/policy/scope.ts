import type {
  ActionConstraint,
  EntityUidJson,
  PolicyJson,
  PrincipalConstraint,
  ResourceConstraint,
  TypeAndId,
} from "@cedar-policy/cedar-wasm/nodejs";

/** What matches every entity, and every action. */
export const anything = "*";

/**
 * What the head of a policy names, as keys. A policy can apply only if its key for the principal is among
 * the keys that the principal answers to, and so for action and resource. `is T in E` is kept as `in E`,
 * and `in E` covers `E` itself: a slice may hold a policy too many, never one too few.
 */
export interface Scope {
  readonly principal: string;
  /** `anything`, or the names of the actions. */
  readonly actions: readonly string[];
  readonly resource: string;
}

export function scopeOf(policy: PolicyJson): Scope {
  return { principal: keyOf(policy.principal), actions: actionsOf(policy.action), resource: keyOf(policy.resource) };
}

/** Every key that this entity answers to: any, its type, itself, its parents. */
export function keysFor(uid: TypeAndId, parents: readonly TypeAndId[]): readonly string[] {
  return [anything, `is ${uid.type}`, key(uid), ...parents.map(key)];
}

function key(uid: TypeAndId): string {
  return `${uid.type}::"${uid.id}"`;
}

function keyOf(constraint: PrincipalConstraint | ResourceConstraint): string {
  if (constraint.op === "All") return anything;
  if (constraint.op === "is") return constraint.in ? keyOf({ op: "in", ...constraint.in }) : `is ${constraint.entity_type}`;
  // A slot is a template's, and those are refused before this; should one come here, it must not be dropped.
  return "slot" in constraint ? anything : key(plain(constraint.entity));
}

function actionsOf(constraint: ActionConstraint): readonly string[] {
  if (constraint.op === "All") return [anything];
  if ("slot" in constraint) return [anything];
  const entities = "entities" in constraint ? constraint.entities : [constraint.entity];
  return entities.map((entity) => plain(entity).id);
}

function plain(uid: EntityUidJson): TypeAndId {
  return "__entity" in uid ? uid["__entity"] : uid;
}
