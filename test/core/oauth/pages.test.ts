import { hash } from "node:crypto";
import { assert, property, string, subarray } from "fast-check";
import { describe, expect, it } from "vitest";
import { allScopes } from "../../../src/core/scope.ts";
import type { AgentName } from "../../../src/core/brand.ts";
import { chosen, formTargets, showClient } from "../../../src/oauth/consent.ts";
import { consentPage } from "../../../src/oauth/pages/consent.ts";
import { confirmCodePage } from "../../../src/oauth/pages/device.ts";
import { enrollPage } from "../../../src/oauth/pages/enroll.ts";
import { markup, shown } from "../../../src/oauth/pages/html.ts";
import { document } from "../../../src/oauth/pages/layout.ts";
import { errorPage } from "../../../src/oauth/pages/message.ts";
import { signInPage } from "../../../src/oauth/pages/sign-in.ts";

const hostile = [
  `<script>alert(1)</script>`,
  `"><img src=x onerror=alert(1)>`,
  `' autofocus onfocus='alert(1)`,
  "\u202eelpmaxe.live",
  "a\u200bb\u2066c\u2069d\u061ce",
  "line\nbreak\r\nand\u2028more",
  "\ud800 lone",
  "&lt;b&gt;",
  "z\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308".repeat(50),
  "x".repeat(10_000),
];

function consent(name: string, redirect: unknown = "https://app.example/back", source: "operator" | "dcr" | "cimd" = "dcr", id = "id-1") {
  const client = { id, agent: "agent" as AgentName, source, name: "Entered", createdAt: 0, frozen: false, removed: false };
  return consentPage({
    action: "/oauth/interaction/x",
    csrf: "token",
    client: showClient(id, client, name, redirect),
    user: "ada",
    agent: "agent",
    roles: [],
    scopes: allScopes.map((scope) => ({ scope, says: scope })),
    formAction: formTargets(redirect),
  });
}

/** Elements and attributes, as a browser would find them. */
function outline(text: string): readonly string[] {
  return [...text.matchAll(/<([a-z0-9]+)((?:\s+[a-z-]+(?:="[^"]*")?)*)\s*>/g)].map(([, tag = "", attributes = ""]) =>
    [tag, ...[...attributes.matchAll(/([a-z-]+)(?:="[^"]*")?/g)].map(([, name = ""]) => name)].join(" "),
  );
}

describe("what strangers call themselves", () => {
  it.each(hostile)("OA-04 %j adds no element, no attribute and no line to the consent page", (name) => {
    const plain = document(consent("plain")).text;
    const { text } = document(consent(name));
    // A name beyond ASCII adds our own warning about it.
    const expected = /[^\x20-\x7e]/.test(shown(name)) ? document(consent("plé")).text : plain;
    expect(outline(text)).toEqual(outline(expected));
    expect(text.length).toBeLessThan(plain.length + 2_000);
    // oxlint-disable-next-line no-control-regex -- they are what must not be there
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069]/);
    expect(text).not.toContain("\ud800");
  });

  it("OA-04 any text: escaped, on one line, bounded", () => {
    assert(
      property(string({ unit: "binary", maxLength: 400 }), (text) => {
        const clean = shown(text);
        expect(Array.from(clean).length).toBeLessThanOrEqual(80);
        expect(clean).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u);
        expect(markup`${clean}`.text).not.toMatch(/[<>"']|&(?!amp;|lt;|gt;|quot;|#39;)/);
      }),
      { numRuns: 300 },
    );
  });

  it("OA-04 a name is marked as their own word, with where they are sent back to; letters that look like others are pointed out", () => {
    const { text } = document(consent("Ｋnown"));
    expect(text).toContain("An app that calls itself");
    expect(text).toContain("(not verified)");
    expect(text).toContain("<strong>app.example</strong>");
    expect(text).toContain("letters beyond a–z");
    const cyrillic = document(consent("Claude", "https://xn--80ak6aa92e.example/back"));
    expect(cyrillic.text).toContain("xn--80ak6aa92e.example");
  });

  it("OA-04 only what the operator entered goes by its name", () => {
    const { text } = document(consent("Somebody else", "https://app.example/", "operator"));
    expect(text).toContain("<strong><bdi>Entered</bdi></strong>");
    expect(text).not.toContain("not verified");
    expect(document(consent("Known", "https://app.example/", "cimd")).text).toContain("not verified");
  });

  it("OA-23 a client on this computer, or a program on it, is warned about, whoever it says it is", () => {
    for (const uri of ["http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]:1/x"])
      for (const source of ["operator", "dcr", "cimd"] as const)
        expect(document(consent("Known", uri, source)).text).toContain("on the computer in front of you");
    expect(document(consent("Known", "cursor://anysphere.cursor-mcp/oauth/callback")).text).toContain("a program on this computer");
    const { text } = document(consent("Claude", "http://localhost/", "cimd", "https://imitator.example/client.json"));
    expect(text).toContain("<dt>Described by</dt><dd>imitator.example</dd>");
  });

  it("OA-04 device pages and errors escape as well", () => {
    for (const name of hostile) {
      const client = showClient("id", undefined, name, undefined);
      const pages = [
        confirmCodePage({ action: "/x", xsrf: name, client, code: "AAAA-BBBB", address: name }),
        signInPage({
          action: "/x",
          csrf: "x",
          client: client.name,
          name,
          error: "e",
          passkey: `{"challenge":"${name}"}`,
          provider: name,
          cancel: true,
          formAction: [],
        }),
        enrollPage({
          action: "/x",
          csrf: "x",
          name,
          wantsCode: true,
          key: "A".repeat(32),
          uri: `otpauth://x/${name}`,
          passkey: name,
          shortest: 12,
        }),
        errorPage({ error: name, error_description: name }),
      ];
      for (const page of pages) expect(document(page).text).not.toMatch(/<script>alert|<img|onfocus='|<b>/);
    }
  });
});

describe("a page", () => {
  it("allows exactly its own style and script, by their hashes", () => {
    const page = signInPage({ action: "/x", csrf: "x", passkey: "{}", cancel: false, formAction: [] });
    const { text, headers } = document(page);
    const digest = (found: string): string => `'sha256-${hash("sha256", found, "base64")}'`;
    const style = /<style>([\s\S]*?)<\/style>/.exec(text)?.[1] ?? "";
    const script = /<script>([\s\S]*?)<\/script>/.exec(text)?.[1] ?? "";
    expect(headers["content-security-policy"]).toBe(
      `default-src 'none'; style-src ${digest(style)}; script-src ${digest(script)}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'`,
    );
    expect(text).not.toMatch(/ on[a-z]+=| style="|(?:src|href)="http/);
  });

  it("has a label for every field, and a language", () => {
    const { text } = document(signInPage({ action: "/x", csrf: "x", cancel: true, formAction: [] }));
    for (const [, id = ""] of text.matchAll(/<input id="([a-z]+)"/g)) expect(text).toContain(`<label for="${id}">`);
    expect(text).toContain('<html lang="en">');
  });

  it("lets its forms go where this client is, and nowhere else", () => {
    expect(formTargets("https://app.example:8443/a?b=c")).toEqual(["https://app.example:8443"]);
    expect(formTargets("http://127.0.0.1:4000/x")).toEqual(["http://127.0.0.1:4000"]);
    expect(formTargets("http://[::1]:4000/x")).toEqual(["http:"]);
    expect(formTargets("cursor://anysphere.cursor-mcp/oauth/callback")).toEqual(["cursor:"]);
    expect(formTargets("https://app.example/;%20script-src%20*")).toEqual(["https://app.example"]);
    expect(formTargets(undefined)).toEqual([]);
  });
});

describe("ticks", () => {
  it("what is not ticked is granted by no other name either", () => {
    assert(
      property(subarray([...allScopes]), subarray([...allScopes]), (wanted, ticked) => {
        const granted = chosen(wanted, ticked);
        expect(wanted).toEqual(expect.arrayContaining([...granted]));
        const refused = wanted.filter((scope) => !ticked.includes(scope));
        const implied: Readonly<Record<string, readonly string[]>> = { use: ["use:http", "use:sql"], "leases:write": ["leases:read"] };
        const reaches = new Set(granted.flatMap((scope) => [scope, ...(implied[scope] ?? [])]));
        expect(refused.filter((scope) => reaches.has(scope))).toEqual([]);
      }),
    );
    expect(chosen(allScopes, allScopes)).toEqual(allScopes);
  });
});
