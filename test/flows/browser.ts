/** A page as somebody without JavaScript has it before them. */
export interface Seen {
  readonly url: URL;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly forms: readonly FoundForm[];
}

export interface FoundForm {
  readonly action: string;
  /** What is sent when nothing is changed: hidden and filled fields, and boxes that are ticked. */
  readonly fields: readonly (readonly [string, string])[];
  readonly buttons: readonly (readonly [string, string])[];
  /** WebAuthn options, for the script. */
  readonly passkey?: string;
}

interface Cookie {
  readonly name: string;
  readonly value: string;
  readonly path: string;
}

/** Follows redirects, keeps cookies by path, and stops where a redirect leads away from `home`. */
export function createBrowser(home: string, extra: Readonly<Record<string, string>> = {}) {
  let cookies: Cookie[] = [];
  const origin = new URL(home).origin;

  function keep(response: Response): void {
    for (const line of response.headers.getSetCookie()) {
      const [pair = "", ...attributes] = line.split("; ");
      const [name, value] = [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)];
      const of = (key: string): string | undefined =>
        attributes.find((one) => one.toLowerCase().startsWith(`${key}=`))?.slice(key.length + 1);
      const path = of("path") ?? "/";
      cookies = cookies.filter((one) => one.name !== name || one.path !== path);
      const gone = value === "" || of("max-age") === "0" || Date.parse(of("expires") ?? "9999") < Date.now();
      if (!gone) cookies.push({ name, value, path });
    }
  }

  async function send(url: URL, init: RequestInit = {}): Promise<Seen> {
    const mine = cookies.filter(({ path }) => url.pathname === path || url.pathname.startsWith(path.endsWith("/") ? path : `${path}/`));
    const cookie = url.origin === origin ? mine.map(({ name, value }) => `${name}=${value}`).join("; ") : "";
    const headers = { accept: "text/html", ...extra, ...(cookie === "" ? {} : { cookie }), ...(init.headers as Record<string, string>) };
    const response = await fetch(url, { ...init, headers, redirect: "manual" });
    keep(response);
    const location = response.headers.get("location");
    if (location !== null) {
      const next = new URL(location, url);
      await response.arrayBuffer();
      if (next.origin !== origin) return { url: next, status: response.status, headers: response.headers, text: "", forms: [] };
      return send(next);
    }
    const text = await response.text();
    return { url, status: response.status, headers: response.headers, text, forms: formsIn(text) };
  }

  return {
    open: (url: string) => send(new URL(url, home)),

    /** Sends a form of a page: `change` sets fields, or takes them away. */
    submit(
      page: Seen,
      find: string,
      change: Readonly<Record<string, string | readonly string[] | undefined>> = {},
      headers: Readonly<Record<string, string>> = {},
    ) {
      const form = formOf(page, find);
      const body = new URLSearchParams(form.fields.map(([name, value]): [string, string] => [name, value]));
      const button = form.buttons.find(([name, value]) => name === "do" && value === find);
      if (button) body.set(...(button as [string, string]));
      for (const [name, value] of Object.entries(change)) {
        body.delete(name);
        for (const one of typeof value === "string" ? [value] : (value ?? [])) body.append(name, one);
      }
      const type = { "content-type": "application/x-www-form-urlencoded", origin: page.url.origin, "sec-fetch-site": "same-origin" };
      return send(new URL(form.action, page.url), { method: "POST", body: body.toString(), headers: { ...type, ...headers } });
    },

    /** What another site that knows a cookie could not: take it along. */
    cookies: () => cookies,
    take(others: readonly Cookie[]) {
      cookies = [...others];
    },
  };
}

export type Browser = ReturnType<typeof createBrowser>;

export function formOf(page: Seen, does: string): FoundForm {
  const found = page.forms.find(({ fields, buttons }) => [...fields, ...buttons].some(([name, value]) => name === "do" && value === does));
  const [only] = page.forms;
  if (found) return found;
  if (only && page.forms.length === 1) return only;
  throw new Error(`no form does "${does}" on:\n${page.text}`);
}

function formsIn(text: string): readonly FoundForm[] {
  return [...text.matchAll(/<form ([^>]*)>([\s\S]*?)<\/form>/g)].map(([, attributes = "", inside = ""]) => {
    const inputs = [...inside.matchAll(/<(input|button)\b([^>]*)>/g)].map(([, tag, rest = ""]) => ({
      tag,
      ...attributesOf(rest),
      ticked: / checked/.test(rest),
    }));
    const sent = inputs.filter((one) => one.tag === "input" && one.name !== undefined && (one.type !== "checkbox" || one.ticked));
    const buttons = inputs.filter((one) => one.tag === "button" && one.name !== undefined);
    const { action = "", "data-passkey": passkey } = attributesOf(attributes);
    return {
      action,
      fields: sent.map(({ name = "", value = "" }) => [name, value] as const),
      buttons: buttons.map(({ name = "", value = "" }) => [name, value] as const),
      ...(passkey === undefined ? {} : { passkey }),
    };
  });
}

function attributesOf(text: string): Record<string, string | undefined> & { name?: string; value?: string; type?: string } {
  return Object.fromEntries([...text.matchAll(/([a-z-]+)="([^"]*)"/g)].map(([, name = "", value = ""]) => [name, unescape(value)]));
}

function unescape(text: string): string {
  const entities: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', "#39": "'", amp: "&" };
  return text.replace(/&(lt|gt|quot|#39|amp);/g, (_, name: string) => entities[name] ?? "");
}
