import { describe, expect, it } from "vitest";
import { networkOf } from "../../../src/core/network.ts";

describe("what an address is counted by", () => {
  it.each([
    ["203.0.113.9", "203.0.113.9"],
    ["", ""],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["2001:db8:0:0:ffff:ffff:ffff:ffff", "2001:db8:0:0::/64"],
    ["2001:0DB8:0000:0001::", "2001:db8:0:1::/64"],
    ["::1", "0:0:0:0::/64"],
    ["::", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["1:2:3:4:5:6:7:8", "1:2:3:4::/64"],
  ])("OA-05 %s is %s", (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});
