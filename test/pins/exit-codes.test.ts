import { expect, test } from "vitest";
import { exitFor, exitForCode, exits } from "../../src/cli/exit.ts";

test("exit codes are API: scripts branch on them", () => {
  expect(Object.fromEntries(Object.entries(exits).map(([name, { code }]) => [name, code]))).toEqual({
    ok: 0,
    unexpected: 1,
    usage: 2,
    configuration: 3,
    refused: 4,
    notFound: 5,
    unavailable: 6,
    verification: 7,
    interrupted: 130,
  });
});

test("failures of a call keep their exit codes, here and from another broker", () => {
  expect(exits[exitFor("denied")].code).toBe(4);
  expect(exits[exitFor("lease_ended")].code).toBe(5);
  expect(exits[exitFor("target_unavailable")].code).toBe(6);
  expect(exits[exitFor("audit_unavailable")].code).toBe(6);
  expect(exitForCode("quota_exceeded")).toBe("refused");
  expect(exitForCode("toString")).toBe("unexpected");
});
