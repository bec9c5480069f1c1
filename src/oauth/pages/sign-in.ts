import type { Html } from "./html.ts";
import { markup } from "./html.ts";
import type { Page } from "./layout.ts";

/** What every form on a page carries. */
export interface FormParts {
  readonly action: string;
  /** Against forms that are sent from elsewhere. */
  readonly csrf: string;
}

export interface SignInPage extends FormParts {
  /** Who wants them to sign in; absent where they came by themselves. */
  readonly client?: string;
  /** What they typed before, to spare them typing it again. */
  readonly name?: string;
  readonly error?: string;
  /** WebAuthn request options; absent where there can be no passkeys. */
  readonly passkey?: string;
  /** Host of the OpenID provider, where there is one. */
  readonly provider?: string;
  readonly cancel: boolean;
  readonly formAction: readonly string[];
}

export function signInPage(page: SignInPage): Page {
  const { client, provider } = page;
  // One way stands out: the provider's, where there is one.
  const style = provider === undefined ? "" : "quiet";
  const body = markup`
    ${client !== undefined && markup`<p><bdi>${client}</bdi> wants to use Leasehold on your behalf. Sign in first; then you decide.</p>`}
    ${problem(page.error)}
    ${provider !== undefined && form(page, "openid", markup`<div class="row"><button>Sign in with ${provider}</button></div>`)}
    ${page.passkey !== undefined && passkeyForm(page, page.passkey, "Sign in with a passkey", style)}
    ${form(page, "password", passwordFields(page.name ?? "", style))}
    ${page.cancel && form(page, "cancel", markup`<hr><button class="plain">Cancel and go back</button>`)}`;
  return { title: "Sign in", body, passkeys: page.passkey !== undefined, formAction: page.formAction };
}

function passwordFields(name: string, style: string): Html {
  return markup`
    <label for="name">Name</label>
    <input id="name" name="name" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="63" required value="${name}">
    <label for="password">Password</label>
    <input id="password" name="password" type="password" autocomplete="current-password" maxlength="256" required>
    <label for="code">Code from your authenticator app</label>
    <input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="8" aria-describedby="code-note">
    <p class="soft" id="code-note">Leave it empty if you have none.</p>
    <div class="row"><button class="${style}">Sign in</button></div>`;
}

/** A form that does one thing, named by `does`; without it, its buttons say what. */
export function form(parts: FormParts, does: string | undefined, content: Html): Html {
  return markup`<form method="post" action="${parts.action}">
    <input type="hidden" name="csrf" value="${parts.csrf}">
    ${does !== undefined && markup`<input type="hidden" name="do" value="${does}">`}
    ${content}
  </form>`;
}

/** Shows itself where there is a script and WebAuthn. `options` is what the browser is asked with, as JSON. */
export function passkeyForm(parts: FormParts, options: string, label: string, style = ""): Html {
  return markup`<form method="post" action="${parts.action}" data-passkey="${options}" hidden>
    <input type="hidden" name="csrf" value="${parts.csrf}">
    <input type="hidden" name="do" value="passkey">
    <input type="hidden" name="passkey">
    <div class="row"><button class="${style}">${label}</button></div>
    <p class="soft" role="status"></p>
  </form>`;
}

export function problem(text: string | undefined): Html | undefined {
  return text === undefined ? undefined : markup`<p class="error" role="alert">${text}</p>`;
}
