import { describe, expect, test } from "vitest";
import { createAddressRule, guardedLookup } from "../../../src/outbound/address.ts";

const inside: readonly string[] = [
  "0.0.0.0",
  "0.1.2.3",
  "10.0.0.1",
  "100.64.0.1",
  "127.0.0.1",
  "127.255.255.254",
  "169.254.169.254",
  "172.16.0.1",
  "172.31.255.255",
  "192.0.0.1",
  "192.0.2.1",
  "192.168.1.1",
  "198.18.0.1",
  "224.0.0.1",
  "240.0.0.1",
  "255.255.255.255",
  "::",
  "::1",
  "::7f00:1",
  "::127.0.0.1",
  "::ffff:127.0.0.1",
  "::ffff:7f00:1",
  "::ffff:a9fe:a9fe",
  "::ffff:8.8.8.8",
  "64:ff9b::7f00:1",
  "64:ff9b:1::1",
  "100::1",
  "2001::1",
  "2001:db8::1",
  "2002:7f00:1::",
  "2002:a9fe:a9fe::1",
  "fc00::1",
  "fd00:ec2::254",
  "fe80::1",
  "fe80::1%eth0",
  "fec0::1",
  "ff02::1",
  "not an address",
  "",
];
const outside: readonly string[] = ["8.8.8.8", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1"];

describe("OA-21: where requests may go", () => {
  test.each(inside)("refused: %s", (address) => {
    expect(createAddressRule(false)(address)).toBe(false);
  });
  test.each(outside)("allowed: %s", (address) => {
    for (const privateNetwork of [false, true, ["10.0.0.0/8"]]) expect(createAddressRule(privateNetwork)(address)).toBe(true);
  });

  test("a private network can be permitted, but not the metadata service along with it", () => {
    const permits = createAddressRule(true);
    for (const address of ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.20.0.1", "100.64.0.1", "::1", "fd12::1"])
      expect(permits(address)).toBe(true);
    for (const address of [
      "169.254.169.254",
      "fe80::1",
      "0.0.0.0",
      "::",
      "224.0.0.1",
      "255.255.255.255",
      "64:ff9b::7f00:1",
      "2002:7f00:1::",
    ])
      expect(permits(address)).toBe(false);
  });

  test("a list permits what it names", () => {
    const permits = createAddressRule(["10.20.0.0/16", "fd12::/16", "169.254.1.1"]);
    for (const address of ["10.20.3.4", "fd12::9", "169.254.1.1"]) expect(permits(address)).toBe(true);
    for (const address of ["10.21.0.1", "127.0.0.1", "::1", "169.254.169.254"]) expect(permits(address)).toBe(false);
  });
});

describe("a look-up", () => {
  function lookup(addresses: readonly string[]): Promise<unknown> {
    const resolve = async () => addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    return new Promise((done) => {
      guardedLookup(resolve, createAddressRule(false))("api.example.com", { all: true }, (error, found) => done(error ?? found));
    });
  }

  test("answers with what it checked", async () => {
    expect(await lookup(["8.8.8.8", "2606:4700::1111"])).toEqual([
      { address: "8.8.8.8", family: 4 },
      { address: "2606:4700::1111", family: 6 },
    ]);
  });
  test("OA-21: one address inside refuses the name", async () => {
    expect(await lookup(["8.8.8.8", "127.0.0.1"])).toMatchObject({ code: "ADDRESS_REFUSED" });
    expect(await lookup(["8.8.8.8", "::ffff:a9fe:a9fe"])).toMatchObject({ code: "ADDRESS_REFUSED" });
    expect(await lookup([])).toMatchObject({ code: "ADDRESS_REFUSED" });
  });
});
