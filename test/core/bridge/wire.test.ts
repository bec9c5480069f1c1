import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { endpointOf } from "../../../src/bridge/address.ts";
import { opener } from "../../../src/bridge/browser.ts";
import { challengeOf } from "../../../src/bridge/challenge.ts";
import { readEvents } from "../../../src/bridge/events.ts";
import { readLines } from "../../../src/bridge/lines.ts";
import { readAnswer, readMessage } from "../../../src/bridge/message.ts";

async function* pieces(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let from = 0;
  for (const size of sizes) {
    yield bytes.subarray(from, from + size);
    from += size;
  }
  yield bytes.subarray(from);
}

async function all<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe("lines", () => {
  it("are the same however the bytes arrive", async () => {
    const line = fc.string({ unit: "grapheme", minLength: 1 }).map((text) => text.replaceAll(/[\r\n]/g, "") || "x");
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.array(fc.nat(7)), async (lines, sizes) => {
        const expected = lines.map((text) => text.trim()).filter((text) => text !== "");
        const found = await all(readLines(pieces(Buffer.from(lines.join("\n")), sizes), 10_000));
        expect(found).toEqual(expected.map((text) => ({ text })));
      }),
    );
  });

  it("of more than the limit are passed by, and what follows is read", async () => {
    const bytes = Buffer.from(`${"x".repeat(9)}\n${"y".repeat(8)}\nok`);
    expect(await all(readLines(pieces(bytes, [3, 3, 3]), 8))).toEqual([{ problem: "too long" }, { text: "yyyyyyyy" }, { text: "ok" }]);
  });

  it("that are not UTF-8 are said to be", async () => {
    expect(await all(readLines(pieces(Buffer.from([0xc3, 0x28, 0x0a]), []), 8))).toEqual([{ problem: "not UTF-8" }]);
  });
});

describe("events", () => {
  it("are the same however the bytes arrive, with every line break", async () => {
    const stream = Buffer.from(": hello\r\nid: 1\r\ndata: ü\r\ndata:two\r\n\r\nevent: ping\ndata\n\nid:2\rdata: three\r\r: end\n\n");
    const expected = [
      { type: "message", data: "ü\ntwo", id: "1" },
      { type: "ping", data: "", id: "1" },
      { type: "message", data: "three", id: "2" },
    ];
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(5)), async (sizes) => {
        expect(await all(readEvents(pieces(stream, sizes), 1_000))).toEqual(expected);
      }),
    );
  });

  it("that grow past the limit end the stream, with or without a line break", async () => {
    for (const text of ["x".repeat(2_000), "data: xxxxxxxxx\n".repeat(200)])
      await expect(all(readEvents(pieces(Buffer.from(text), []), 1_000))).rejects.toThrow(RangeError);
  });

  it("that were cut off are not given out", async () => {
    expect(await all(readEvents(pieces(Buffer.from("data: half\n"), []), 1_000))).toEqual([]);
  });
});

describe("messages", () => {
  it("2026-07-28: headers repeat the body, and what is no plain text is encoded", () => {
    const message = (name: string) =>
      readMessage(
        JSON.stringify({
          jsonrpc: "2.0",
          id: 1,
          method: "tools/call",
          params: { name, _meta: { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } },
        }),
      );
    const nameOf = (name: string): unknown => {
      const read = message(name);
      return "headers" in read ? read.headers?.["mcp-name"] : read;
    };
    expect(nameOf("whoami")).toBe("whoami");
    expect(nameOf("größe")).toBe(`=?base64?${Buffer.from("größe").toString("base64")}?=`);
    expect(nameOf(" padded")).toMatch(/^=\?base64\?/);
    expect(nameOf("a\r\nx-evil: 1")).toMatch(/^=\?base64\?/);
    expect(nameOf("=?base64?eA==?=")).toMatch(/^=\?base64\?(?!eA==)/);
    expect(nameOf("")).toBe("=?base64??=");
  });

  it("no text makes a header that cannot be sent", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (method) => {
        const read = readMessage(
          JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { _meta: { "io.modelcontextprotocol/protocolVersion": method } } }),
        );
        return !("headers" in read) || new Headers(read.headers).has("mcp-method");
      }),
    );
    expect.assertions(0);
  });

  it("are sent on as they were written, and answers too, if they are one line", () => {
    const text = '{"jsonrpc":"2.0","id":12345678901234567890,"method":"x"}';
    expect(readMessage(text)).toMatchObject({ body: text });
    const answer = '{"jsonrpc":"2.0","id":1,"result":{"n":12345678901234567890}}';
    expect(readAnswer(answer)?.line).toBe(answer);
    expect(readAnswer('{"jsonrpc":"2.0",\n"id":1,"result":{}}')?.line).toBe('{"jsonrpc":"2.0","id":1,"result":{}}');
    expect(readAnswer("<html>")).toBeUndefined();
    expect(readAnswer('{"error":"invalid_token"}')).toBeUndefined();
  });

  it("nothing that arrives throws", () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        readMessage(text);
        readAnswer(text);
      }),
    );
    expect.assertions(0);
  });
});

describe("challenges", () => {
  const read = (value: string) => challengeOf(new Response(null, { status: 401, headers: { "www-authenticate": value } }));

  it("are read from one scheme or several", () => {
    expect(read('Bearer error="invalid_token", resource_metadata="https://b.example/x?a=\\"b\\""')).toEqual({
      error: "invalid_token",
      scopes: [],
      metadata: 'https://b.example/x?a="b"',
    });
    expect(read('DPoP algs="ES256", error=use_dpop_nonce, Bearer scope="a b  a"')).toEqual({ error: "use_dpop_nonce", scopes: ["a", "b"] });
    expect(read('Bearer not_error="x", error="insufficient_scope"')).toEqual({ error: "insufficient_scope", scopes: [] });
    expect(read("Basic")).toEqual({ scopes: [] });
  });

  it("take no time, whatever they are", () => {
    const started = performance.now();
    for (const part of ['a="', "a=", 'error="\\', "=,", "scope "]) read(part.repeat(5_000));
    expect(performance.now() - started).toBeLessThan(500);
  });
});

describe("addresses", () => {
  it.each([
    ["https://broker.example", "https://broker.example/mcp"],
    ["https://broker.example/", "https://broker.example/mcp"],
    ["https://broker.example/lease/mcp/", "https://broker.example/lease/mcp"],
    ["http://127.0.0.1:8787/mcp", "http://127.0.0.1:8787/mcp"],
    ["http://[::1]:8787", "http://[::1]:8787/mcp"],
    ["http://localhost", "http://localhost/mcp"],
    ["http://broker.example", undefined],
    ["http://127.0.0.1.example", undefined],
    ["https://me:secret@broker.example", undefined],
    ["https://broker.example/?token=x", undefined],
    ["ftp://broker.example", undefined],
    ["broker.example", undefined],
  ])("%s is %s", (typed, endpoint) => {
    expect(endpointOf(typed)?.href).toBe(endpoint);
  });

  it("MT-14: a URL for the browser is one argument, https or on this machine", () => {
    const url = new URL("https://broker.example/auth?a=$(id)&b=`id`;|%0a\"'");
    for (const platform of ["linux", "darwin", "win32"] as const) {
      const [command, args] = opener(platform, url);
      expect(command).toMatch(/^(?:xdg-open|open|rundll32)$/);
      expect(args.at(-1)).toBe(url.href);
      expect(url.href).not.toMatch(/["'<>\s]/);
      for (const odd of ["file:///etc/passwd", "javascript:alert(1)", "http://broker.example/", "ms-settings:x"])
        expect(() => opener(platform, new URL(odd))).toThrow(TypeError);
    }
  });
});
