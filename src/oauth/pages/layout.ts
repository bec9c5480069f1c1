import { hash } from "node:crypto";
import { Html, markup } from "./html.ts";

export interface Page {
  readonly title: string;
  readonly body: Html;
  /** Wants the passkey script. Everything else works without. */
  readonly passkeys?: boolean;
  /** Where a form of it may end up beside here, as CSP sources: browsers hold redirects to it, too. */
  readonly formAction?: readonly string[];
  /** Where it goes on to by itself. */
  readonly refresh?: string;
}

const style = `:root{color-scheme:light dark;--ink:light-dark(#1c2024,#eceef0);--soft:light-dark(#5b626a,#a6adb5);--paper:light-dark(#f6f7f8,#131518);--card:light-dark(#fff,#1b1e22);--line:light-dark(#d5d9de,#383d44);--accent:light-dark(#0b5cad,#7db8f5);--on:light-dark(#fff,#0c1a28);--warn:light-dark(#7a4300,#ffc27a);--warnpaper:light-dark(#fff3e0,#33260f);--bad:light-dark(#a31621,#ff9a9f)}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
main{max-width:30rem;margin:6vh auto;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem;overflow-wrap:anywhere}
@media(max-width:32rem){main{margin:0;border:0;border-radius:0;min-height:100vh}}
h1{font-size:1.4rem;line-height:1.25;margin:0 0 1rem}h2{font-size:1.05rem;margin:1.75rem 0 .5rem}p{margin:.5rem 0}
.brand{margin:0 0 1.5rem;color:var(--soft);font-size:.9rem;letter-spacing:.02em}.soft{color:var(--soft);font-size:.9rem}
label{display:block;margin:1rem 0 .25rem;font-weight:600}input:not([type=checkbox]){width:100%;padding:.6rem .7rem;font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line);border-radius:.4rem}
button{font:inherit;font-weight:600;padding:.6rem 1.1rem;border:1px solid var(--accent);border-radius:.4rem;background:var(--accent);color:var(--on);cursor:pointer}
button.quiet{background:none;color:var(--accent)}button.plain{border:0;background:none;color:var(--accent);padding:.25rem 0;font-weight:400;text-decoration:underline}
.row{display:flex;flex-wrap:wrap;gap:.75rem;margin-top:1.5rem}:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
fieldset{border:0;margin:1rem 0 0;padding:0}legend{font-weight:600;padding:0}.check{display:flex;gap:.6rem;align-items:baseline;margin:.5rem 0;font-weight:400}.check input{flex:none}
dl{margin:1rem 0;display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1rem}dt{color:var(--soft)}dd{margin:0}
.note{border-left:4px solid var(--warn);background:var(--warnpaper);padding:.6rem .9rem;margin:1rem 0;border-radius:.25rem}.error{border-left:4px solid var(--bad);padding:.4rem .9rem;margin:1rem 0;color:var(--bad)}
code{font:.95em ui-monospace,monospace;overflow-wrap:anywhere}.key{display:block;padding:.75rem;border:1px dashed var(--line);border-radius:.4rem;letter-spacing:.05em}hr{border:0;border-top:1px solid var(--line);margin:1.75rem 0}ul{padding-left:1.2rem}
@media(forced-colors:active){button{border:1px solid}}`;

/**
 * Asks the browser for a passkey (WebAuthn level 2) when a form that wants one is sent, and sends what it answers
 * with the form. Such forms stay hidden where there is no script or no WebAuthn.
 */
const script = `for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = form.querySelector("[role=status]");
    const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\\+/g, "-").replace(/\\//g, "_").replace(/=+$/, "");
    try {
      const options = JSON.parse(form.dataset.passkey);
      options.challenge = bytes(options.challenge);
      if (options.user) options.user.id = bytes(options.user.id);
      const made = options.user ? await navigator.credentials.create({ publicKey: options }) : await navigator.credentials.get({ publicKey: options });
      const answer = { id: text(made.rawId), clientDataJSON: text(made.response.clientDataJSON) };
      for (const part of ["attestationObject", "authenticatorData", "signature", "userHandle"])
        if (made.response[part]) answer[part] = text(made.response[part]);
      form.elements.passkey.value = JSON.stringify(answer);
      form.submit();
    } catch {
      said.textContent = "That did not work. Try again, or choose another way.";
    }
  });
}`;

const sourceOf = (text: string): string => `'sha256-${hash("sha256", text, "base64")}'`;
const styleSource = sourceOf(style);
const scriptSource = sourceOf(script);

/** A whole document, with the headers that it must be sent with. */
export function document(page: Page): { readonly text: string; readonly headers: Readonly<Record<string, string>> } {
  const { text } = markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
${page.refresh !== undefined && markup`<meta http-equiv="refresh" content="0; url=${page.refresh}">`}
<title>${page.title} · Leasehold</title>
<style>${new Html(style)}</style>
</head>
<body>
<main>
<p class="brand">Leasehold</p>
<h1>${page.title}</h1>
${page.body}
</main>
${page.passkeys && markup`<script>${new Html(script)}</script>`}
</body>
</html>
`;
  const policy = [
    "default-src 'none'",
    `style-src ${styleSource}`,
    ...(page.passkeys ? [`script-src ${scriptSource}`] : []),
    `form-action ${["'self'", ...(page.formAction ?? [])].join(" ")}`,
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ];
  return { text, headers: { ...pageHeaders, "content-security-policy": policy.join("; ") } };
}

/**
 * `same-origin` and not `no-referrer`: with the latter a browser sends `Origin: null` with our own forms (Fetch
 * standard, "append a request Origin header"), and there would be nothing left to check. To others it says as little.
 */
const pageHeaders = {
  "content-type": "text/html; charset=utf-8",
  "cache-control": "no-store",
  "referrer-policy": "same-origin",
  "x-frame-options": "DENY",
  "x-content-type-options": "nosniff",
} as const;
