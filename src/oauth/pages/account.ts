import type { ClientShown } from "./consent.ts";
import { row } from "./consent.ts";
import type { Html } from "./html.ts";
import { markup } from "./html.ts";
import type { Page } from "./layout.ts";
import type { FormParts } from "./sign-in.ts";
import { form, passkeyForm, problem } from "./sign-in.ts";

export interface AccountPage extends FormParts {
  readonly name: string;
  readonly role: string;
  readonly passkeys: readonly { readonly id: string; readonly since: string; readonly used?: string }[];
  /** WebAuthn creation options; absent where there can be no passkeys. */
  readonly passkey?: string;
  readonly connections: readonly {
    readonly id: string;
    readonly client: ClientShown;
    readonly scopes: readonly string[];
    readonly since: string;
  }[];
  readonly error?: string;
}

export function accountPage(page: AccountPage): Page {
  const body = markup`
    ${problem(page.error)}
    <dl>${row("You are", markup`${page.name}`)}${row("Role", markup`${page.role}`)}</dl>
    <h2>Apps that act for you</h2>
    ${page.connections.map(({ id, client, scopes, since }) =>
      form(
        page,
        "disconnect",
        markup`
      ${named(id)}
      <p><strong><bdi>${client.name}</bdi></strong>${!client.known && " (not verified)"}
        <span class="soft">since ${since}, may: ${scopes.join(", ")}</span></p>
      <button class="quiet">Disconnect</button>`,
      ),
    )}
    ${page.connections.length === 0 && markup`<p class="soft">None.</p>`}
    <h2>Passkeys</h2>
    ${page.passkeys.map(({ id, since, used }) =>
      form(
        page,
        "remove-passkey",
        markup`
      ${named(id)}
      <p>Added ${since}${used !== undefined && `, used ${used}`} <button class="plain">Remove</button></p>`,
      ),
    )}
    ${page.passkeys.length === 0 && markup`<p class="soft">None.</p>`}
    ${page.passkey !== undefined && passkeyForm(page, page.passkey, "Add a passkey", "quiet")}
    <hr>
    ${form(page, "sign-out", markup`<button class="quiet">Sign out</button>`)}
    ${form(page, "sign-out-everywhere", markup`<button class="plain">Sign out everywhere, and disconnect all apps</button>`)}`;
  return { title: "Your account", body, passkeys: page.passkey !== undefined };
}

function named(id: string): Html {
  return markup`<input type="hidden" name="id" value="${id}">`;
}

/** For links that say "sign out". */
export function signOutPage(parts: FormParts): Page {
  const content = markup`<p>Apps that act for you stay connected.</p><div class="row"><button>Sign out</button></div>`;
  return { title: "Sign out?", body: form(parts, "sign-out", content) };
}
