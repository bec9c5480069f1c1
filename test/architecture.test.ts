import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const src = join(root, "src");

interface Source {
  /** Relative to `src`, with slashes. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const sources: readonly Source[] = readdirSync(src, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
  .map((entry) => {
    const path = relative(src, join(entry.parentPath, entry.name)).replaceAll("\\", "/");
    const text = readFileSync(join(src, path), "utf8");
    const imports = [
      ...text.matchAll(/^(?:import|export|\} from)\b[^;]*?from "([^"]+)";|^import "([^"]+)";|import\("([^"]+)"\)/gm),
    ].flatMap((match) => match[1] ?? match[2] ?? match[3] ?? []);
    return { path, text, imports };
  });

/** The room a file is in: its first folder, or its own name for those at the top. */
const roomOf = (path: string): string => (path.includes("/") ? path.slice(0, path.indexOf("/")) : path);

function roomsImported(source: Source): readonly string[] {
  const inside = source.imports.filter((one) => one.startsWith("."));
  return inside.map((one) => roomOf(relative(src, join(src, dirname(source.path), one)).replaceAll("\\", "/")));
}

/**
 * Which rooms a room may look into, beside itself and `core`. Imports go one way: nothing looks into a
 * face, and only `compose.ts` knows every part.
 */
const law: Readonly<Record<string, readonly string[]>> = {
  core: [],
  identity: [],
  policy: [],
  lease: [],
  audit: [],
  redact: [],
  crypto: [],
  // Adapters: core, the keys that open their values, and one client of their own.
  vaults: ["crypto"],
  engines: [],
  sinks: [],
  delivery: ["outbound"],
  // Requests that go out to where somebody else says.
  outbound: [],
  store: ["crypto", "identity", "vaults"],
  config: [],
  // Faces: core and the services behind it.
  mcp: [],
  http: ["identity"],
  oauth: ["config", "crypto", "identity", "outbound"],
  // The other end: a client of a broker elsewhere.
  bridge: [],
  cli: ["audit", "bridge", "config", "crypto", "identity", "lease", "policy", "version.ts"],
  // The demo stands outside: it starts the program as a person would.
  demo: [],
  "duties.ts": ["audit", "lease", "policy"],
  "serving.ts": ["authorization.ts", "config", "duties.ts", "http", "identity", "mcp"],
  "version.ts": [],
};
const knowsEveryone = new Set(["authorization.ts", "compose.ts", "main.ts"]);

/** The third-party client of each room that has one. */
const clients: Readonly<Record<string, readonly string[]>> = {
  core: [],
  identity: ["jose"],
  policy: ["@cedar-policy/cedar-wasm"],
  lease: [],
  audit: [],
  redact: [],
  crypto: [],
  vaults: ["zod"],
  engines: ["zod", "pg", "libpg-query"],
  sinks: ["zod"],
  outbound: ["undici"],
  oauth: ["oidc-provider", "jose", "zod", "oauth4webapi", "@levischuck/tiny-cbor"],
  bridge: ["oauth4webapi"],
  delivery: ["zod", "pg", "pg-cursor", "libpg-query", "undici"],
  store: ["kysely"],
  config: ["zod", "yaml"],
  mcp: ["zod", "@modelcontextprotocol/server"],
  http: ["hono", "@hono/node-server", "@modelcontextprotocol/node"],
  cli: ["commander", "pino", "zod"],
  demo: ["pg", "@modelcontextprotocol/client"],
  "authorization.ts": ["pino"],
  "compose.ts": ["pino"],
  "main.ts": [],
  "duties.ts": ["pino"],
  "serving.ts": ["pino"],
  "version.ts": [],
};

const packageOf = (name: string): string =>
  name
    .split("/")
    .slice(0, name.startsWith("@") ? 2 : 1)
    .join("/");

describe("the house", () => {
  it("imports go one way", () => {
    const wrong = sources.flatMap((source) => {
      const room = roomOf(source.path);
      if (knowsEveryone.has(room)) return [];
      const allowed = new Set([room, "core", ...(law[room] ?? [])]);
      return roomsImported(source).flatMap((other) => (allowed.has(other) ? [] : [`${source.path} looks into ${other}`]));
    });
    expect(wrong).toEqual([]);
  });

  it("every room has a law, and a client list", () => {
    const rooms = new Set(sources.map((source) => roomOf(source.path)));
    const lawless = [...rooms].filter((room) => !knowsEveryone.has(room) && law[room] === undefined);
    expect(lawless).toEqual([]);
    expect([...rooms].filter((room) => clients[room] === undefined)).toEqual([]);
  });

  it("each room uses its own third-party client and no other", () => {
    const wrong = sources.flatMap((source) =>
      source.imports
        .filter((one) => !one.startsWith(".") && !one.startsWith("node:"))
        .flatMap((one) => (clients[roomOf(source.path)]?.includes(packageOf(one)) ? [] : [`${source.path} imports ${one}`])),
    );
    expect(wrong).toEqual([]);
  });

  it("a secret is looked into where it is delivered, minted, stored or sealed, and nowhere else", () => {
    const allowed = new Set(["delivery", "engines", "vaults", "crypto"]);
    const wrong = sources.filter(
      (source) => /\.use\(/.test(source.text) && source.path !== "core/secret.ts" && !allowed.has(roomOf(source.path)),
    );
    // `broker.use` is the operation, not the secret, and the provider is used as a middleware.
    const others = wrong.filter((source) => source.text.replaceAll(/(?:broker|provider)\.use\(/g, "").includes(".use("));
    expect(others.map((source) => source.path)).toEqual([]);
  });

  it("a file is one thought: none past 400 lines", () => {
    expect(sources.filter((source) => source.text.split("\n").length > 401).map((source) => source.path)).toEqual([]);
  });

  it("folders are nouns of the domain", () => {
    const vague = /^(?:utils?|helpers?|common|types|managers?|misc|shared|lib)$/;
    const folders = new Set(sources.flatMap((source) => source.path.split("/").slice(0, -1)));
    expect([...folders].filter((folder) => vague.test(folder))).toEqual([]);
  });

  it("no default exports, no `any`, no silenced rules", () => {
    const code = (text: string): string => text.replaceAll(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, "");
    const wrong = sources.filter((source) => /^export default|\bas any\b/m.test(code(source.text)));
    expect(wrong.map((source) => source.path)).toEqual([]);
    expect(
      sources
        .filter((source) => /@ts-ignore|@ts-expect-error|(?:ox|es)lint-disable(?!-next-line no-control-regex -- )/.test(source.text))
        .map(({ path }) => path),
    ).toEqual([]);
  });

  it("stdout belongs to commands and protocols: nothing else writes to it", () => {
    const writers = sources.filter((source) => /process\.stdout|console\./.test(source.text)).map((source) => roomOf(source.path));
    expect([...new Set(writers)].filter((room) => !["cli", "demo", "main.ts"].includes(room))).toEqual([]);
  });
});
