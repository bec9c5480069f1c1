import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../../src/core/json.ts";
import { parseRequest } from "../../../src/delivery/http-request.ts";
import { judgeRedirect } from "../../../src/delivery/http-redirect.ts";
import type { HttpTarget } from "../../../src/delivery/http-target.ts";

const target: HttpTarget = {
  origin: "https://tickets.example.com",
  basePath: "/api",
  headers: [
    { name: "Authorization", value: "Bearer {{secret}}" },
    { name: "Prefer", value: "fixed" },
  ],
  allow: [
    { method: "GET", path: "/v1/**" },
    { method: "POST", path: "/v1/tickets" },
  ],
  privateNetwork: false,
  maxResponseBytes: 1_024,
  timeout: 1_000,
  followRedirects: 1,
};

const parse = (input: JsonObject) => parseRequest({ path: "/v1/tickets", ...input }, target);
const code = (input: JsonObject): string => {
  try {
    parse(input);
    return "fine";
  } catch (problem) {
    return problem instanceof Error && "code" in problem ? String(problem.code) : "thrown";
  }
};

describe("what goes out", () => {
  test("a request in its one form", () => {
    expect(parse({ method: "post", path: "/v1/%74ickets", headers: { Accept: "text/plain" }, body: { a: [1] } })).toEqual({
      method: "POST",
      path: "/api/v1/tickets",
      query: "",
      headers: { accept: "text/plain", "content-type": "application/json" },
      body: '{"a":[1]}',
    });
  });
  test("text is sent as it is", () => {
    expect(parse({ method: "POST", headers: { "Content-Type": "text/csv" }, body: "a,b" })).toMatchObject({
      headers: { "content-type": "text/csv" },
      body: "a,b",
    });
  });
  test("EX-03: a placeholder is text like any other", () => {
    expect(parse({ method: "POST", body: "{{secret}}", headers: { accept: "{{secret}}" } })).toMatchObject({
      body: "{{secret}}",
      headers: { accept: "{{secret}}" },
    });
    expect(code({ path: "/v1/{{secret}}" })).toBe("invalid_request");
    expect(code({ headers: { "{{secret}}": "x" } })).toBe("operation_refused");
  });
});

describe("what is refused", () => {
  test.each(["DELETE", "PUT", "HEAD", "OPTIONS"])("%s is not in the allow list", (method) => {
    expect(code({ method })).toBe("operation_refused");
  });
  test("a path outside of the allow list, also one that only the base path would put inside", () => {
    expect(code({ path: "/v2/tickets" })).toBe("operation_refused");
    expect(code({ path: "/api/v1/tickets" })).toBe("operation_refused");
    expect(code({ method: "POST", path: "/v1/tickets/1" })).toBe("operation_refused");
  });
  test.each(["TRACE", "CONNECT", "GET ", "GET\r\n", "", "PROPFIND", "G".repeat(1_000_000)])("method %j", (method) => {
    expect(code({ method })).toBe("invalid_request");
  });
  test.each([{ method: 1 }, { path: 1 }, { headers: "x" }, { headers: [] }, { url: "https://evil.example" }, { body: "x" }])(
    "%j",
    (input: JsonObject) => {
      expect(code(input)).toBe("invalid_request");
    },
  );

  const smuggled = [
    "authorization",
    "Authorization",
    "AUTHORIZATION",
    "cookie",
    "host",
    "Host",
    "proxy-authorization",
    "proxy-connection",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "expect",
    "accept-encoding",
    "x-forwarded-for",
    "x-http-method-override",
    "x-original-url",
    "forwarded",
    "authorization ",
    " authorization",
    "accept\r\nauthorization",
    "accept:",
    "äccept",
    "ACCEPT\u0130",
    "__proto__",
    "constructor",
  ];
  test.each(smuggled)("EX-10: header %j", (name) => {
    expect(code({ headers: Object.fromEntries([[name, "x"]]) })).toBe("operation_refused");
  });
  test("a header that the credential brings itself, although agents may set it elsewhere", () => {
    expect(code({ headers: { prefer: "return=minimal" } })).toBe("operation_refused");
  });
  test.each(["a\r\nb", "a\nb", "a\0b", "é", "x".repeat(2_000)])("header value %j", (value) => {
    expect(code({ headers: { accept: value } })).toBe("invalid_request");
  });
  test("the same header twice, and too many", () => {
    expect(code({ headers: { accept: "a", Accept: "b" } })).toBe("invalid_request");
    expect(code({ headers: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`x-${i}`, "x"])) })).toBe("invalid_request");
  });
  test("a body that is too large", () => {
    expect(code({ method: "POST", body: "é".repeat(600_000) })).toBe("invalid_request");
  });
});

describe("redirects", () => {
  const request = { method: "GET", path: "/api/v1/a", query: "", headers: { accept: "a/b", "if-match": "1" } };
  const judge = (location: string, status = 302, from = request, left = 1) => judgeRedirect(target, from, status, location, left);

  test("within the host and the allow list", () => {
    expect(judge("/api/v1/b?x=1")).toEqual({
      kind: "follow",
      request: { method: "GET", path: "/api/v1/b", query: "?x=1", headers: { accept: "a/b" } },
    });
    expect(judge("b")).toMatchObject({ kind: "follow", request: { path: "/api/v1/b" } });
    expect(judge("https://tickets.example.com/api/v1/b")).toMatchObject({ kind: "follow" });
    expect(judge("/api/v1/b", 303, { ...request, method: "POST" })).toMatchObject({ kind: "follow", request: { method: "GET" } });
  });
  test("within the host, but not followed", () => {
    expect(judge("/login")).toEqual({ kind: "show", location: "/login" });
    expect(judge("/api/v2/b")).toEqual({ kind: "show", location: "/api/v2/b" });
    expect(judge("/api/v1/b", 302, request, 0)).toEqual({ kind: "show", location: "/api/v1/b" });
    expect(judge("/api/v1/b", 307, { ...request, method: "POST" })).toEqual({ kind: "show", location: "/api/v1/b" });
  });
  const away = [
    "https://evil.example/",
    "//evil.example/api/v1/b",
    "http://tickets.example.com/api/v1/b",
    "https://tickets.example.com:8443/api/v1/b",
    "https://user@tickets.example.com/api/v1/b",
    "https://tickets.example.com@evil.example/",
    "https://tickets.example.com.evil.example/",
    "\\\\evil.example\\",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "http://",
    "/api/v1/%2e%2e%2fb",
    "/api/v1/..;/b",
  ];
  test.each(away)("not followed, and not shown: %s", (location) => {
    expect(judge(location)).toMatchObject({ kind: "hide" });
  });
});
