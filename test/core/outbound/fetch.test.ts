import { describe, expect, it } from "vitest";
import { createGuardedFetch, FetchRefused } from "../../../src/outbound/fetch.ts";

/** Never connects: what gets as far as a look-up is answered from here. */
function guard(addresses: readonly string[] = []) {
  const asked: string[] = [];
  const clock = { now: 0 };
  const resolve = async (host: string) => {
    asked.push(host);
    return addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
  };
  return { ...createGuardedFetch({ now: () => clock.now, resolve }), asked, clock };
}

describe("documents from where a stranger says", () => {
  it.each([
    "http://app.example/x",
    "ftp://app.example/x",
    "file:///etc/passwd",
    "data:application/json,{}",
    "https://app.example:8443/x",
    "https://app.example:80/x",
    "https://user@app.example/x",
    "https://127.0.0.1/x",
    "https://2130706433/x",
    "https://0x7f.1/x",
    "https://0177.0.0.1/x",
    "https://0.0.0.0/x",
    "https://169.254.169.254/latest/meta-data",
    "https://10.1.2.3/x",
    "https://[::1]/x",
    "https://[::ffff:7f00:1]/x",
    "https://[::ffff:169.254.169.254]/x",
    "https://[64:ff9b::7f00:1]/x",
    "https://[fd00::1]/x",
    "nonsense",
  ])("OA-21 %s is refused before any look-up", async (url) => {
    const { fetch, asked } = guard();
    const refused = await fetch(url).catch((cause: unknown) => cause);
    expect(refused).toBeInstanceOf(FetchRefused);
    expect(asked).toEqual([]);
    // By us, and not by a network that happens to lead nowhere.
    const { cause } = refused as { cause: Error & { code?: string } };
    expect([undefined, "ADDRESS_REFUSED", "ERR_INVALID_URL"]).toContain(cause.code);
  });

  it.each([["127.0.0.1"], ["169.254.169.254"], ["::ffff:127.0.0.1"], ["fd00::1"], ["0.0.0.0"]])(
    "OA-21 a name that leads to %s is refused before a connection, also among others",
    async (address) => {
      const { fetch, asked } = guard(["93.184.216.34", address]);
      await expect(fetch("https://app.example/x")).rejects.toThrow("the document cannot be fetched");
      expect(asked).toEqual(["app.example"]);
    },
  );

  it("one that failed is left alone for ten seconds", async () => {
    const { fetch, asked, clock } = guard(["127.0.0.1"]);
    for (const now of [0, 1, 9_999, 10_000]) {
      clock.now = now;
      await expect(fetch("https://app.example/x")).rejects.toThrow(FetchRefused);
    }
    expect(asked).toHaveLength(2);
  });

  it("says why to the log, and to nobody else", async () => {
    const { fetch } = guard(["10.0.0.1"]);
    const refused = await fetch("https://app.example/x").catch((cause: unknown) => cause);
    expect(refused).toBeInstanceOf(FetchRefused);
    expect(String(refused)).not.toContain("10.0.0.1");
    expect((refused as Error).cause).toMatchObject({ code: "ADDRESS_REFUSED" });
  });
});
