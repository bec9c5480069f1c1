import { start } from "./cli/start.ts";

process.stdout.on("error", (error: Error) => {
  // Whoever read our output has left (`leasehold audit export | head`): there is nobody to tell.
  if ("code" in error && error.code === "EPIPE") process.exit(0);
  throw error;
});

const code = await start(process.argv.slice(2), {
  tables: async () => (await import("./compose.ts")).configTables,
  compose: async (options) => (await import("./compose.ts")).compose(options),
  demo: async (options) => (await import("./demo/demo.ts")).runDemo(options),
});

// Nothing that is still open may keep a finished command alive.
process.exit(code);
