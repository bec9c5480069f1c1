import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { createOriginGuard } from "../../../src/http/origin.ts";

function from(remoteAddress: string, headers: Record<string, string> = {}): IncomingMessage {
  const socket = new Socket();
  Object.defineProperty(socket, "remoteAddress", { value: remoteAddress });
  const request = new IncomingMessage(socket);
  Object.assign(request.headers, { host: "broker.example", ...headers });
  return request;
}

const guard = createOriginGuard({ publicUrl: "https://broker.example", port: () => 7420, trustedProxies: ["10.0.0.0/8", "fd00::1"] });

describe("who may connect where TLS ends here", () => {
  const secure = createOriginGuard({ publicUrl: "https://broker.example", port: () => 7420, tls: true });

  it.each(["127.0.0.1", "203.0.113.9", "2001:db8::1"])("%s: anyone, by our own names and from our own pages", (peer) => {
    expect(() => secure.check(from(peer))).not.toThrow();
    expect(() => secure.check(from(peer, { origin: "https://broker.example" }))).not.toThrow();
    expect(() => secure.check(from(peer, { host: "localhost:7420", origin: "https://localhost:7420" }))).not.toThrow();
    expect(() => secure.check(from(peer, { origin: "http://localhost:7420" }))).toThrow("Unknown origin.");
    expect(() => secure.check(from(peer, { host: "evil.example" }))).toThrow("Unknown host.");
  });

  it("and nobody's X-Forwarded-For counts", () => {
    expect(secure.addressOf(from("203.0.113.9", { "x-forwarded-for": "198.51.100.1" }))).toBe("203.0.113.9");
  });
});

describe("who may connect", () => {
  it.each(["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3", "fd00::1"])(
    "%s: this machine, or a trusted proxy",
    (peer) => {
      expect(() => guard.check(from(peer))).not.toThrow();
    },
  );

  it.each(["192.168.1.5", "::ffff:192.168.1.5", "11.0.0.1", "fd00::2", "2001:db8::1", ""])(
    "%s: no other, for lack of TLS between us",
    (peer) => {
      expect(() => guard.check(from(peer))).toThrow("Connect through the proxy");
    },
  );

  it("a client is believed to be elsewhere only when a trusted proxy says so", () => {
    expect(guard.addressOf(from("10.1.2.3", { "x-forwarded-for": "6.6.6.6, 198.51.100.7" }))).toBe("198.51.100.7");
    expect(guard.addressOf(from("127.0.0.1", { "x-forwarded-for": "6.6.6.6" }))).toBe("127.0.0.1");
  });
});
