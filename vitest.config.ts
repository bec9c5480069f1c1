import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      // The laws of the house: also part of `npm run check`.
      { test: { name: "check", include: ["test/architecture.test.ts", "test/gates/**/*.test.ts"], isolate: false } },
      // Pure code, no processes, no sockets.
      {
        test: { name: "core", include: ["test/core/**/*.test.ts", "test/pins/**/*.test.ts", "test/vectors/**/*.test.ts"], isolate: false },
      },
      // The house put together: a real PostgreSQL, real child processes, real MCP clients.
      {
        test: {
          name: "flows",
          include: ["test/flows/**/*.test.ts", "test/real/**/*.test.ts", "test/cli/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
    reporters: ["default", "./test/reporter.ts"],
  },
});
