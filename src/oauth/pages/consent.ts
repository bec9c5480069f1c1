import { unreachable } from "../../core/unreachable.ts";
import type { Html } from "./html.ts";
import { looksForeign, markup } from "./html.ts";
import type { Page } from "./layout.ts";
import type { FormParts } from "./sign-in.ts";
import { form, problem } from "./sign-in.ts";

export interface ConsentPage extends FormParts {
  readonly client: ClientShown;
  /** Who is signed in. */
  readonly user: string;
  readonly agent: string;
  readonly roles: readonly string[];
  /** What it asks for: the scope, and what that means. */
  readonly scopes: readonly { readonly scope: string; readonly says: string }[];
  /** The only credentials that it is to be good for; absent: whatever policy allows. */
  readonly credentials?: readonly string[];
  readonly error?: string;
  readonly formAction: readonly string[];
}

/** A client, in text that was made fit to be shown. */
export interface ClientShown {
  /** What it calls itself. */
  readonly name: string;
  /** Whether the operator entered it, so that the name is theirs. */
  readonly known: boolean;
  readonly id: string;
  /** Who hosts the document that describes it, where it names itself by one. */
  readonly host?: string;
  /** Where people are sent back to; absent for devices. */
  readonly redirect?: { readonly to: string; readonly kind: "host" | "this-computer" | "app" };
}

export function consentPage(page: ConsentPage): Page {
  const { client } = page;
  const body = markup`
    ${problem(page.error)}
    <p>${whoAsks(client)} wants to act for you.</p>
    ${!client.known && looksForeign(client.name) && note(markup`Its name has letters beyond a–z, some of which look like others. Do not go by it.`)}
    ${redirectNote(client)}
    <dl>
      ${!client.known && row("App id", markup`<code>${client.id}</code>`)}
      ${client.host !== undefined && row("Described by", markup`${client.host}`)}
      ${client.redirect && row("Sends you back to", markup`${client.redirect.to}`)}
      ${row("Agent", markup`${page.agent}`)}
      ${row("Roles", markup`${page.roles.length > 0 ? page.roles.join(", ") : "none: policy grants it nothing yet"}`)}
      ${row("You are", markup`<bdi>${page.user}</bdi>`)}
    </dl>
    ${form(page, undefined, choices(page))}
    ${form(page, "switch", markup`<hr><button class="plain">You are somebody else? Sign in again</button>`)}`;
  return { title: "Allow this app?", body, formAction: page.formAction };
}

function choices({ scopes, credentials }: ConsentPage): Html {
  return markup`
    <fieldset>
      <legend>It asks to</legend>
      ${scopes.map(
        ({ scope, says }) => markup`
        <label class="check">
          <input type="checkbox" name="scope" value="${scope}" checked>
          <span>${says} <span class="soft"><code>${scope}</code></span></span>
        </label>`,
      )}
    </fieldset>
    ${credentials && markup`<p>Only with: ${credentials.map((name) => markup`<code>${name}</code> `)}</p>`}
    <p class="soft">Take the tick away from what it shall not do. What it may do is never more than policy allows.</p>
    <div class="row">
      <button name="do" value="allow">Allow</button>
      <button name="do" value="refuse" class="quiet">Refuse</button>
    </div>`;
}

/** Names are the operator's, or what the client says of itself: these must never look alike. */
export function whoAsks({ name, known }: ClientShown): Html {
  return known
    ? markup`<strong><bdi>${name}</bdi></strong>`
    : markup`An app that calls itself <strong>“<bdi>${name}</bdi>”</strong> (not verified)`;
}

export function row(term: string, what: Html): Html {
  return markup`<dt>${term}</dt><dd>${what}</dd>`;
}

export function note(what: Html): Html {
  return markup`<p class="note">${what}</p>`;
}

function redirectNote({ redirect, known }: ClientShown): Html | false {
  if (!redirect) return note(markup`Go on only if you started this yourself, on a device that you have at hand.`);
  switch (redirect.kind) {
    case "this-computer":
      return note(
        markup`It runs <strong>on the computer in front of you</strong>: nobody can tell which of its programs will get access. Go on only if you have just started this yourself.`,
      );
    case "app":
      return note(
        markup`It opens <strong>a program on this computer</strong>, and any program could answer to that. Go on only if you have just started this yourself.`,
      );
    case "host":
      return (
        !known &&
        note(markup`Anybody can register an app under any name. Look at where it sends you back to: <strong>${redirect.to}</strong>`)
      );
    default:
      return unreachable(redirect.kind);
  }
}
