import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { hotp } from "../../src/crypto/totp.ts";
import type { Seen } from "./browser.ts";
import { createBrowser } from "./browser.ts";

export interface PersonOptions {
  /** The broker whose pages they read. */
  readonly home: string;
  readonly name: string;
  readonly password: string;
}

/** How they answer a page that asks for consent. */
interface Answer {
  readonly refuse?: boolean;
  /** Scopes that they take the tick from. */
  readonly without?: readonly string[];
}

export type Person = ReturnType<typeof createPerson>;

/** A person at a desk, without JavaScript: reads our real pages, fills in their forms, and follows where these lead. */
export function createPerson({ home, name, password }: PersonOptions) {
  const browser = createBrowser(home);
  /** Every page that was read, by its heading. */
  const read: string[] = [];
  let app: { readonly key: Buffer; used: number } | undefined;

  /** A code of their app that was not used yet. Servers take the one before and the one after the present one, too. */
  async function code(): Promise<string> {
    if (!app) return "";
    while (app.used > Math.floor(Date.now() / 30_000)) await pause(500);
    app.used = Math.max(app.used, Math.floor(Date.now() / 30_000) - 2) + 1;
    return hotp(app.key, app.used);
  }

  async function answer(page: Seen, how: Answer): Promise<Seen | undefined> {
    const does = (what: string): boolean =>
      page.forms.some(({ fields, buttons }) => [...fields, ...buttons].some(([key, value]) => key === "do" && value === what));
    if (does("allow")) {
      const scopes = page.forms.flatMap(({ fields }) => fields.filter(([key]) => key === "scope").map(([, value]) => value));
      if (how.refuse) return browser.submit(page, "refuse");
      return browser.submit(page, "allow", { scope: scopes.filter((scope) => !how.without?.includes(scope)) });
    }
    if (does("cancel")) return browser.submit(page, "password", { name, password, code: await code() });
    const confirm = page.forms.find(({ buttons }) => buttons.some(([key]) => key === "confirm"));
    if (confirm) return browser.submit(page, "", how.refuse ? { abort: "yes" } : { confirm: "yes" });
    return undefined;
  }

  /** Goes on until a page has nothing to fill in, or leads away from the broker. */
  async function goOn(first: Seen, how: Answer): Promise<Seen> {
    let page = first;
    for (let pages = 0; pages < 10; pages += 1) {
      if (page.text !== "") read.push(/<h1>(.*?)<\/h1>/.exec(page.text)?.[1] ?? page.text.slice(0, 200));
      const next = page.status < 400 ? await answer(page, how) : undefined;
      if (!next) return page;
      page = next;
    }
    throw new Error(`no end of pages: ${read.join(", ")}`);
  }

  /** Opens an authorization URL, and answers with where the client's own address was called with: its redirect URI and a code or an error. */
  async function authorize(url: string | URL, how: Answer = {}): Promise<URL> {
    const last = await goOn(await browser.open(String(url)), how);
    if (last.text !== "")
      throw new Error(`this page leads nowhere (${last.status}):\n${last.text.replaceAll(/<style>.*?<\/style>/gs, "")}`);
    return last.url;
  }

  return {
    name,
    read,
    authorize,

    /** The same, and as a browser does, it calls the program that waits on this machine. Answers with what that shows. */
    async deliver(url: string | URL, how: Answer = {}): Promise<string> {
      return (await fetch(await authorize(url, how))).text();
    },

    /** What their browser keeps of this broker. */
    cookies: () => browser.cookies(),

    /** Reads a page as it is. */
    open: (path: string): Promise<Seen> => browser.open(path),

    /** Types the code that a device shows. Answers with the heading of the page that this ends on. */
    async connect(url: string, userCode: string, how: Answer = {}): Promise<string> {
      const page = await browser.open(url);
      await goOn(await browser.submit(page, "", { user_code: userCode }), how);
      return read.at(-1) ?? "";
    },

    /** Sets up their password, and an authenticator app where the account wants one, behind a one-time link. */
    async enrol(link: string): Promise<void> {
      const page = await browser.open(link);
      const key = /name="key" value="([A-Z2-7]{32})"/.exec(page.text)?.[1] ?? "";
      const wanted = / name="code"[^>]* required/.test(page.text);
      if (wanted) app = { key: base32(key), used: 0 };
      const done = await browser.submit(page, "password", { password, again: password, code: await code() });
      if (!done.text.includes("You are set up")) throw new Error(`not enrolled:\n${done.text}`);
    },
  };
}

export function newPassword(): string {
  return randomBytes(18).toString("base64url");
}

/** RFC 4648 section 6. */
function base32(text: string): Buffer {
  const bits = text.replaceAll(/./g, (letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0"));
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}
