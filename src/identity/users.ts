import { hash, randomBytes } from "node:crypto";
import type { Actor } from "../core/event.ts";
import type { Account, UserDirectory, UserRole } from "./directory.ts";
import type { Passwords } from "./password.ts";

/** What an operator does to an account. */
export type UserSwitch = "user.disabled" | "user.enabled" | "user.frozen" | "user.unfrozen" | "user.sessions-ended";

interface NewUser {
  readonly name: string;
  readonly role: UserRole;
  readonly email?: string;
}

/** A person as an OpenID provider describes them, once its word was checked. */
export interface VouchedUser {
  readonly issuer: string;
  readonly subject: string;
  /** What they would like to be called here. It is made fit to be a name, and theirs alone. */
  readonly name: string;
  readonly email?: string;
  readonly teams: readonly string[];
  /** Absent: whatever they are already, and a member at first. */
  readonly role?: UserRole;
}

/** A public key that proves a person (WebAuthn level 2). `publicKey` is DER (SPKI), `algorithm` the COSE number. */
export interface Passkey {
  readonly id: Uint8Array;
  readonly account: string;
  readonly publicKey: Uint8Array;
  readonly algorithm: number;
  readonly counter: number;
  readonly name: string;
  readonly createdAt: number;
  readonly usedAt?: number;
}

export type NewPasskey = Pick<Passkey, "id" | "publicKey" | "algorithm" | "counter" | "name">;

/** What an account proves itself with. */
interface Proofs {
  readonly password?: string;
  readonly totp?: Uint8Array;
  readonly totpStep: number | null;
}

/** What an enrolment leaves behind; everything that was there before goes. */
interface Enrolled {
  readonly password?: string;
  readonly totp?: { readonly sealed: Uint8Array; readonly step: number };
  readonly passkey?: NewPasskey;
}

type SignedInBy =
  | { readonly method: "password"; readonly totpStep?: number }
  | { readonly method: "passkey"; readonly passkey: Uint8Array; readonly from: number; readonly to: number };

/** Where accounts rest. A change is durable together with its audit events. */
export interface UserRecords {
  find(account: string): Promise<Account | undefined>;
  byName(name: string): Promise<Account | undefined>;
  list(): Promise<readonly Account[]>;
  proofs(account: string): Promise<Proofs | undefined>;
  /** `false` when the name is taken. */
  add(account: Account, actor: Actor): Promise<boolean>;
  apply(account: string, change: UserSwitch, actor: Actor): Promise<void>;
  /** Ends the links that there are. */
  invite(account: string, digest: Uint8Array, expiresAt: number, actor: Actor): Promise<void>;
  /** Whose link it is, as long as it is good. */
  invited(digest: Uint8Array): Promise<Account | undefined>;
  /** `false` when the link was used, ended or expired meanwhile. */
  enrol(digest: Uint8Array, account: string, enrolled: Enrolled, actor: Actor): Promise<boolean>;
  /** `false` when the account may not sign in, or what it was proved with was used already. */
  signedIn(account: string, by: SignedInBy, actor: Actor): Promise<boolean>;
  /** Makes the account, or brings it up to date. `undefined` when it may not sign in. */
  vouched(user: VouchedUser, id: string, ip: string): Promise<Account | undefined>;
  rehash(account: string, from: string, to: string): Promise<void>;
  passkey(id: Uint8Array): Promise<Passkey | undefined>;
  passkeys(account: string): Promise<readonly Passkey[]>;
  addPasskey(account: string, passkey: NewPasskey, actor: Actor): Promise<boolean>;
  removePasskey(account: string, id: Uint8Array): Promise<boolean>;
}

/** One-time codes; `src/crypto/totp.ts` makes them. */
interface Codes {
  newKey(): string;
  uri(key: string, of: { readonly issuer: string; readonly name: string }): string;
  stepOf(key: string, code: string): number | undefined;
  seal(account: string, key: string): Uint8Array;
  match(account: string, sealed: Uint8Array, code: string, last: number | null): Promise<number | undefined>;
}

export type Outcome = { readonly account: Account } | { readonly why: SignInRefused; readonly account?: undefined; readonly user?: string };
type SignInRefused = "unknown" | "password" | "code" | "code-missing" | "disabled" | "passkey" | "not-allowed";

/** People's accounts: who there is, how they prove themselves, and what becomes of them. */
export interface Users extends UserDirectory {
  byName(name: string): Promise<Account | undefined>;
  list(): Promise<readonly Account[]>;
  add(user: NewUser, by: Actor): Promise<Account | "taken">;
  change(account: string, change: UserSwitch, by: Actor): Promise<boolean>;
  /** A one-time token with which a person sets what they will sign in with. The links from before end. */
  invite(account: string, by: Actor, seconds?: number): Promise<{ readonly token: string; readonly expiresAt: number }>;
  invited(token: string): Promise<Account | undefined>;
  /** `false` when the token is no longer good. Throws nothing for a wrong code: `stepOf` is asked before. */
  enrol(token: string, account: Account, proof: EnrolProof, ip: string): Promise<boolean>;
  signInWithPassword(given: { readonly name: string; readonly password: string; readonly code: string }, ip: string): Promise<Outcome>;
  /** For an assertion whose signature was found good. */
  signInWithPasskey(passkey: Passkey, counter: number, ip: string): Promise<Outcome>;
  signInVouched(user: VouchedUser, ip: string): Promise<Outcome>;
  readonly codes: Codes;
  passkey(id: Uint8Array): Promise<Passkey | undefined>;
  passkeys(account: string): Promise<readonly Passkey[]>;
  addPasskey(account: Account, passkey: NewPasskey, ip: string): Promise<boolean>;
  removePasskey(account: string, id: Uint8Array): Promise<boolean>;
}

export type EnrolProof =
  | { readonly password: string; readonly totp?: { readonly key: string; readonly step: number } }
  | { readonly passkey: NewPasskey };

export interface UsersParts {
  readonly records: UserRecords;
  readonly passwords: Passwords;
  readonly codes: Codes;
  /** Issuer of accounts that we vouch for ourselves. */
  readonly issuer: string;
  /** 26 characters, never the same again. */
  readonly newId: () => string;
  readonly now: () => number;
}

const userName = /^[a-z0-9][a-z0-9._@-]{0,62}$/;
const linkSeconds = 24 * 3600;

/** 1–63 characters of `a–z 0–9 . _ - @`, starting with a letter or digit: the one form in which names are compared. */
export function isUserName(text: string): boolean {
  return userName.test(text);
}

/** Only something to be called by: who they are is issuer and subject. */
function nameFor({ name, issuer, subject }: VouchedUser): string {
  const wanted = name
    .toLowerCase()
    .replace(/[^a-z0-9._@-]/g, "-")
    .slice(0, 63);
  return isUserName(wanted) ? wanted : `user-${hash("sha256", JSON.stringify([issuer, subject]), "hex").slice(0, 12)}`;
}

/** Operators and approvers sign in with two factors: a passkey, or a password and a code. */
export function wantsCode(role: UserRole): boolean {
  return role !== "member";
}

export function userActor({ account, name }: Account, ip: string): Actor {
  return { type: "user", user: account, name, ip };
}

export function createUsers(parts: UsersParts): Users {
  const { records, passwords, codes, now } = parts;

  async function signInWithPassword(given: { name: string; password: string; code: string }, ip: string): Promise<Outcome> {
    const account = isUserName(given.name) ? await records.byName(given.name) : undefined;
    const proofs = account && (await records.proofs(account.account));
    // Paid for in any case, so that how long it takes tells nothing of who there is.
    const { right, outdated } = await passwords.verify(given.password, proofs?.password);
    if (!account || !proofs) return { why: "unknown" };
    const refused = (why: SignInRefused): Outcome => ({ why, user: account.account });
    if (!right || proofs.password === undefined) return refused("password");
    if (account.disabled || account.frozen) return refused("disabled");
    let totpStep: number | undefined;
    if (proofs.totp) {
      totpStep = await codes.match(account.account, proofs.totp, given.code, proofs.totpStep);
      if (totpStep === undefined) return refused("code");
    } else if (wantsCode(account.role)) return refused("code-missing");
    const by: SignedInBy = { method: "password", ...(totpStep === undefined ? {} : { totpStep }) };
    if (!(await records.signedIn(account.account, by, userActor(account, ip)))) return refused("code");
    if (outdated) await records.rehash(account.account, proofs.password, await passwords.hash(given.password));
    return { account };
  }

  return {
    codes,
    find: (account) => records.find(account),
    byName: (name) => records.byName(name),
    list: () => records.list(),

    async add({ name, role, email }, by) {
      const account = parts.newId();
      const added: Account = {
        account,
        issuer: parts.issuer,
        subject: account,
        name,
        role,
        teams: [],
        ...(email === undefined ? {} : { email }),
        disabled: false,
        frozen: false,
        validFrom: 0,
      };
      return (await records.add(added, by)) ? added : "taken";
    },

    async change(account, change, by) {
      if (!(await records.find(account))) return false;
      await records.apply(account, change, by);
      return true;
    },

    async invite(account, by, seconds = linkSeconds) {
      const token = randomBytes(32).toString("base64url");
      const expiresAt = now() + seconds * 1000;
      await records.invite(account, digestOf(token), expiresAt, by);
      return { token, expiresAt };
    },

    invited: (token) => records.invited(digestOf(token)),

    async enrol(token, account, proof, ip) {
      const actor = userActor(account, ip);
      if ("passkey" in proof) return records.enrol(digestOf(token), account.account, proof, actor);
      const { totp } = proof;
      const enrolled: Enrolled = {
        password: await passwords.hash(proof.password),
        ...(totp ? { totp: { sealed: codes.seal(account.account, totp.key), step: totp.step } } : {}),
      };
      return records.enrol(digestOf(token), account.account, enrolled, actor);
    },

    signInWithPassword,

    async signInWithPasskey(passkey, counter, ip) {
      const account = await records.find(passkey.account);
      if (!account) return { why: "passkey" };
      if (account.disabled || account.frozen) return { why: "disabled", user: account.account };
      const by: SignedInBy = { method: "passkey", passkey: passkey.id, from: passkey.counter, to: counter };
      const done = await records.signedIn(account.account, by, userActor(account, ip));
      return done ? { account } : { why: "passkey", user: account.account };
    },

    async signInVouched(user, ip) {
      const account = await records.vouched({ ...user, name: nameFor(user) }, parts.newId(), ip);
      return account ? { account } : { why: "disabled" };
    },

    passkey: (id) => records.passkey(id),
    passkeys: (account) => records.passkeys(account),
    addPasskey: (account, passkey, ip) => records.addPasskey(account.account, passkey, userActor(account, ip)),
    removePasskey: (account, id) => records.removePasskey(account, id),
  };
}

/**
 * The first operator, with a one-time link as the path below the public URL, when there is no user yet. Two
 * processes that start together make one: the name is taken for the second.
 */
export async function firstOperator(users: Users, by: Actor): Promise<{ readonly account: Account; readonly path: string } | undefined> {
  if ((await users.list()).length > 0) return undefined;
  const account = await users.add({ name: "admin", role: "operator" }, by);
  if (account === "taken") return undefined;
  const { token } = await users.invite(account.account, by);
  return { account, path: enrolmentPath(token) };
}

/** Where the person opens the link, below the public URL. */
export function enrolmentPath(token: string): string {
  return `/oauth/enroll/${token}`;
}

function digestOf(token: string): Uint8Array {
  return hash("sha256", token, "buffer");
}
