import { row } from "./consent.ts";
import { markup, shown } from "./html.ts";
import type { Page } from "./layout.ts";

/** A page that only says something. */
export function messagePage(title: string, ...sentences: readonly string[]): Page {
  return { title, body: markup`${sentences.map((sentence) => markup`<p>${sentence}</p>`)}` };
}

/** What the authorization server found wrong with a request that cannot be sent back (RFC 6749 section 4.1.2.1). */
export function errorPage(error: { readonly error: string; readonly error_description?: string | undefined }): Page {
  const description = shown(error.error_description ?? "", 300);
  const body = markup`
    <p>The app that sent you here asked for something that cannot be done. Go back to it and try again.</p>
    <dl>
      ${row("Error", markup`<code>${shown(error.error, 60)}</code>`)}
      ${description !== "" && row("Details", markup`${description}`)}
    </dl>`;
  return { title: "This does not work", body };
}

/** Goes on by itself, and with a link where it does not. */
export function onwardPage(title: string, to: string, host: string): Page {
  return { title, body: markup`<p><a href="${to}">Go on to ${host}</a></p>`, refresh: to };
}
