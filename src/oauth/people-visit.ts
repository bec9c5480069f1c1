import type { KeyObject } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Provider } from "oidc-provider";
import type { Actor } from "../core/event.ts";
import type { AgentDirectory, AuditLog } from "../core/ports.ts";
import type { Account, Client } from "../identity/directory.ts";
import type { Users } from "../identity/users.ts";
import type { OpenId } from "./openid.ts";
import type { Passkeys } from "./passkey.ts";
import type { ClientShown } from "./pages/consent.ts";
import { token } from "./people-request.ts";
import type { SignIn } from "./sign-in.ts";

/** A request to one of the pages. */
export interface Visit {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly provider: Provider;
  readonly ip: string;
}

/** What the pages have in common. */
export interface Rooms {
  readonly publicUrl: string;
  /** Path of the public URL, without a trailing slash: in front of every link. */
  readonly base: string;
  readonly users: Users;
  readonly clients: { find(id: string): Promise<(Client & { readonly vouched?: boolean }) | undefined> };
  readonly agents: AgentDirectory;
  readonly audit: AuditLog;
  readonly signIn: SignIn;
  readonly passkeys: Passkeys | undefined;
  readonly openid: OpenId | undefined;
  /** Sign-ins of agents, by the id of their grant. */
  readonly connections: {
    list(account: string): Promise<readonly string[]>;
    end(grant: string, by: Actor): Promise<void>;
  };
  /** 32 random bytes, the same in all processes of a broker. */
  readonly key: KeyObject;
  /** Seconds. */
  readonly sessionFor: number;
  readonly now: () => number;
  readonly show: (id: string, name: string | undefined, redirectUri?: unknown) => Promise<ClientShown>;
}

/**
 * The cookie that a sign-in with the OpenID provider leaves in the browser. It says who left, so nobody else may set it: a
 * sister of our host could, were it not for the prefix, which wants the whole host as its path. Without TLS it goes to the callback only.
 */
export function openidCookie({ publicUrl, base }: Pick<Rooms, "publicUrl" | "base">) {
  return publicUrl.startsWith("https:")
    ? { name: "__Host-leasehold_openid", attributes: "Path=/; HttpOnly; SameSite=Lax; Secure" }
    : { name: "leasehold_openid", attributes: `Path=${base}/oauth/openid/callback; HttpOnly; SameSite=Lax` };
}

export function csrfOf({ key }: Pick<Rooms, "key">, ...of: readonly string[]): string {
  return token(key, "csrf", ...of);
}

/** A person who was let in a moment ago may have been disabled since. */
export function mayStay(account: Account | undefined): account is Account {
  return account !== undefined && !account.disabled && !account.frozen;
}
