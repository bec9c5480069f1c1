/**
 * What a token may be used for, by family of tools (RFC 6749 section 3.3). A scope narrows: it never grants
 * what policy does not. `implies` is the hierarchy; `says` is read by people on the consent page.
 */
export const scopes = {
  "credentials:read": { implies: [], says: "see which credentials it may ask for" },
  "leases:read": { implies: [], says: "see what it has borrowed" },
  "leases:write": { implies: ["leases:read"], says: "borrow credentials, and renew and return them" },
  use: { implies: ["use:http", "use:sql"], says: "have Leasehold perform any operation for it" },
  "use:http": { implies: [], says: "have Leasehold make HTTP calls for it" },
  "use:sql": { implies: [], says: "have Leasehold run SQL queries for it" },
} as const satisfies Readonly<Record<string, { readonly implies: readonly string[]; readonly says: string }>>;

export type Scope = keyof typeof scopes;

export function isScope(text: string): text is Scope {
  return Object.hasOwn(scopes, text);
}

/** Every scope there is, in the order in which people read them. */
export const allScopes: readonly Scope[] = Object.keys(scopes).filter(isScope);

/** What these come to with the hierarchy worked out, themselves included. */
export function unfold(granted: readonly Scope[]): readonly Scope[] {
  return [...new Set(granted.flatMap((scope) => [scope, ...scopes[scope].implies]))];
}

/** Whether `needed` is among what was granted, or implied by it. Absent: the caller is not narrowed by scopes. */
export function covers(granted: readonly Scope[] | undefined, needed: Scope): boolean {
  return granted === undefined || unfold(granted).includes(needed);
}
