import type { Html } from "./html.ts";
import { markup } from "./html.ts";
import type { Page } from "./layout.ts";
import type { FormParts } from "./sign-in.ts";
import { form, passkeyForm, problem } from "./sign-in.ts";

export interface EnrollPage extends FormParts {
  readonly name: string;
  /** Whether a code of an authenticator app is needed beside the password. */
  readonly wantsCode: boolean;
  /** Key for the authenticator app, in base32, and the link with it. */
  readonly key: string;
  readonly uri: string;
  /** WebAuthn creation options; absent where there can be no passkeys. */
  readonly passkey?: string;
  readonly error?: string;
  /** Characters of a password, at least. */
  readonly shortest: number;
}

export function enrollPage(page: EnrollPage): Page {
  const body = markup`
    <p>You will sign in as <strong>${page.name}</strong>. Choose how. What you signed in with before, if anything, stops working.</p>
    ${problem(page.error)}
    ${page.passkey !== undefined && passkeyForm(page, page.passkey, "Use a passkey")}
    <h2>A password${page.wantsCode && " and an authenticator app"}</h2>
    ${form(page, "password", fields(page))}`;
  return { title: "Set up your account", body, passkeys: page.passkey !== undefined };
}

function fields({ name, wantsCode, key, uri, shortest }: EnrollPage): Html {
  return markup`
    <input type="hidden" name="key" value="${key}">
    <input type="hidden" name="name" value="${name}" autocomplete="username">
    <label for="password">New password, at least ${shortest} characters</label>
    <input id="password" name="password" type="password" autocomplete="new-password" minlength="${shortest}" maxlength="256" required>
    <label for="again">The same again</label>
    <input id="again" name="again" type="password" autocomplete="new-password" maxlength="256" required>
    <p>${wantsCode ? "Enter" : "If you use an authenticator app, enter"} this key in ${wantsCode ? "your authenticator app" : "it"}
      (or <a href="${uri}">open it on this device</a>):</p>
    <code class="key">${key.replace(/(.{4})(?=.)/g, "$1 ")}</code>
    <label for="code">Code that the app shows then${!wantsCode && " (may stay empty)"}</label>
    <input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="8"${wantsCode && markup` required`}>
    <div class="row"><button>Done</button></div>`;
}
