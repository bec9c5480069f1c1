import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Refusal } from "../../src/http/refusal.ts";
import { createStreams } from "../../src/http/streams.ts";
import type { MintOrder } from "../../src/identity/access-token.ts";
import { startHttpHouse, toolCall } from "./http-house.ts";
import type { HttpHouse } from "./http-house.ts";

const every = 50;
let http: HttpHouse;
beforeAll(async () => {
  http = await startHttpHouse({ parts: { lookEvery: every } });
});
afterAll(() => http.server.close(100));
beforeEach(() => {
  http.house.set("bot", { frozen: false, disabled: false, tokensValidFrom: 0 });
  http.revoked.clear();
});

/** Milliseconds until the stream at `/sse` ends, or `undefined` when it is still open after a second. */
async function open(order: Partial<MintOrder> = {}) {
  const minted = http.token("bot", order);
  const authorization = `Bearer ${minted.token}`;
  const response = await fetch(`${http.url}/sse`, { headers: { authorization } });
  expect(response.status).toBe(200);
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  const endpoint = /data: (\S+)/.exec((await reader?.read())?.value ?? "")?.[1] ?? "";
  const opened = performance.now();
  const ended = (async () => {
    for (;;) {
      const chunk = await reader?.read().catch(() => undefined);
      if (!chunk || chunk.done) return performance.now() - opened;
    }
  })();
  const within = (wait: number) => Promise.race([ended, pause(wait, undefined)]);
  return { minted, endpoint, within };
}

describe("an open stream ends with its right", () => {
  it.each<[string, (id: string) => void]>([
    ["its token is revoked", (id) => http.revoked.add(id)],
    ["its sign-in is revoked", () => http.revoked.add("grant-9")],
    ["all tokens of its agent are revoked", () => http.house.set("bot", { tokensValidFrom: Date.now() + 1 })],
    ["its agent is frozen", () => http.house.set("bot", { frozen: true })],
    ["its agent is disabled", () => http.house.set("bot", { disabled: true })],
  ])("when %s", async (_what, revoke) => {
    const { minted, within } = await open({ session: "grant-9" });
    expect(await within(every * 4)).toBeUndefined();
    revoke(minted.tokenId);
    expect(await within(every * 20)).toBeDefined();
  });

  it("when its token's time is up", async () => {
    const { within } = await open({ ttlSeconds: 1 });
    expect(await within(700)).toBeUndefined();
    expect(await within(1_000)).toBeDefined();
  });

  it("and not before, when a newer token of the same sign-in came over it", async () => {
    const { endpoint, within } = await open({ ttlSeconds: 1, session: "grant-10" });
    const newer = http.headers("bot", { session: "grant-10" });
    expect((await http.post(toolCall("whoami"), newer, endpoint)).status).toBe(202);
    expect(await within(1_600)).toBeUndefined();
    http.revoked.add("grant-10");
    expect(await within(every * 20)).toBeDefined();
  });

  it("also an answer that is still being made: its operation is told to stop", async () => {
    const told = Promise.withResolvers<void>();
    http.house.perform = (_input, signal) =>
      new Promise((resolve) => {
        signal.addEventListener("abort", () => {
          told.resolve();
          resolve({});
        });
      });
    const { token, tokenId } = http.token();
    const call = toolCall("http_request", { credential: "crm/api", purpose: "test", method: "GET", path: "/" });
    const answer = http.post(call, { authorization: `Bearer ${token}` });
    const failed = answer.then(
      () => "answered",
      () => "cut off",
    );
    await pause(every * 3);
    http.revoked.add(tokenId);
    expect(await failed).toBe("cut off");
    await told.promise;
  });
});

describe("a request that takes long to arrive", () => {
  it("is cut off when its right is over before its body is there", async () => {
    const { token, tokenId } = http.token();
    const head = `POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:${http.port}\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\n`;
    const before = performance.now();
    const answer = http.raw(`${head}content-length: 100\r\n\r\n{`, { finish: false });
    await pause(every * 3);
    http.revoked.add(tokenId);
    expect(await answer).toBe("");
    expect(performance.now() - before).toBeLessThan(2_000);
  });
});

describe("streams that wait for changes (2026-07-28)", () => {
  const meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} };
  const params = { notifications: { toolsListChanged: true }, _meta: meta };
  const modern = { "mcp-protocol-version": "2026-07-28", "mcp-method": "subscriptions/listen" };

  it("MT-08: are bounded for each caller, and end with their right", async () => {
    const waiting = await startHttpHouse({
      rights: { bot: {}, other: {} },
      parts: { lookEvery: every, streams: { perCaller: 2, inAll: 3 } },
      listChanges: true,
    });
    const listen = (headers: Record<string, string>) =>
      waiting.post({ jsonrpc: "2.0", id: 1, method: "subscriptions/listen", params }, { ...headers, ...modern });
    const { token, tokenId } = waiting.token();
    const bot = { authorization: `Bearer ${token}` };
    const streams = [await listen(bot), await listen(bot)];
    expect(streams.map(({ status }) => status)).toEqual([200, 200]);
    expect((await listen(bot)).status).toBe(429);
    expect((await listen(waiting.headers("other"))).status).toBe(200);
    expect((await listen(waiting.headers("other"))).status).toBe(429);
    const texts = Promise.allSettled(streams.map((stream) => stream.text()));
    expect(await Promise.race([texts, pause(every * 4, "open")])).toBe("open");
    waiting.revoked.add(tokenId);
    expect((await texts).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect((await listen(waiting.headers("bot"))).status).toBe(200);
    await waiting.server.close(2_000);
  });
});

describe("a look at rights", () => {
  const setUp = () => {
    const clock = { time: 0 };
    const streams = createStreams<string>({ now: () => clock.time, every: 10, perCaller: 2, inAll: 3, keyOf: (caller) => caller });
    return { clock, streams };
  };

  it("ends what cannot be looked up, once, and asks nothing of what was forgotten", async () => {
    const { streams } = setUp();
    let [ended, asked] = [0, 0];
    streams.watch(
      () => ({ until: 1, holds: () => Promise.reject(new Error("no store")) }),
      () => ended++,
    );
    const { forget } = streams.watch(
      () => ({ until: 1, holds: async () => asked++ < 0 }),
      () => ended++,
    );
    forget();
    await pause(60);
    expect([ended, asked]).toEqual([1, 0]);
    streams.close();
  });

  it("goes by the newest right, also one that came while the last was asked about", async () => {
    const { streams } = setUp();
    let ended = 0;
    const slow = Promise.withResolvers<boolean>();
    const watched = streams.watch(
      () => ({ until: 1, holds: () => slow.promise }),
      () => ended++,
    );
    await pause(30);
    watched.renew(() => ({ until: 1, holds: async () => true }));
    slow.resolve(false);
    await pause(50);
    expect(ended).toBe(0);
    streams.close();
  });

  it("MT-08: gives every caller and all together so many places", () => {
    const { streams } = setUp();
    const end = () => undefined;
    const leave = streams.seat("a", end);
    streams.seat("a", end);
    expect(() => streams.seat("a", end)).toThrow(Refusal);
    streams.seat("b", end);
    expect(() => streams.seat("c", end)).toThrow(Refusal);
    leave();
    leave();
    streams.seat("a", end);
    expect(() => streams.seat("b", end)).toThrow(Refusal);
    streams.close();
  });
});
