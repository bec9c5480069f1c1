import type { ClientShown } from "./consent.ts";
import { note, row, whoAsks } from "./consent.ts";
import { markup } from "./html.ts";
import type { Page } from "./layout.ts";
import { problem } from "./sign-in.ts";

interface DeviceForm {
  readonly action: string;
  readonly xsrf: string;
}

/** RFC 8628 section 3.3: the person types the code that their device shows. */
export function userCodePage(page: DeviceForm & { readonly error?: string }): Page {
  const body = markup`
    ${problem(page.error)}
    <form method="post" action="${page.action}">
      <input type="hidden" name="xsrf" value="${page.xsrf}">
      <label for="code">Code that your device shows</label>
      <input id="code" name="user_code" autocomplete="off" autocapitalize="characters" spellcheck="false" maxlength="20" required autofocus>
      <div class="row"><button>Go on</button></div>
    </form>
    <p class="soft">Nobody will ever send you such a code. Type only what you see on a device of your own.</p>`;
  return { title: "Connect a device", body };
}

interface ConfirmCode extends DeviceForm {
  readonly client: ClientShown;
  readonly code: string;
  /** Where the device asked from. */
  readonly address?: string;
}

/** RFC 8628 sections 3.3.1 and 5.4: the code is shown again, with who asks, so that nobody confirms what others started. */
export function confirmCodePage(page: ConfirmCode): Page {
  const { client } = page;
  const body = markup`
    <p>${whoAsks(client)} asks to be connected.</p>
    <dl>
      ${row("Its code", markup`<code>${page.code}</code>`)}
      ${!client.known && row("App id", markup`<code>${client.id}</code>`)}
      ${page.address !== undefined && row("It asked from", markup`${page.address}`)}
    </dl>
    ${note(markup`Go on only if your device shows <strong>exactly this code</strong>, and you have it in front of you.`)}
    <form method="post" action="${page.action}">
      <input type="hidden" name="xsrf" value="${page.xsrf}">
      <input type="hidden" name="user_code" value="${page.code}">
      <div class="row">
        <button name="confirm" value="yes">It is mine: go on</button>
        <button name="abort" value="yes" class="quiet">Refuse</button>
      </div>
    </form>`;
  return { title: "Is this your device?", body };
}
