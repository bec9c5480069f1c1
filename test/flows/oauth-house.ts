import type { Server } from "node:http";
import { createServer } from "node:http";
import { once } from "node:events";
import { join } from "node:path";
import { pino } from "pino";
import { compose, configTables } from "../../src/compose.ts";
import { parseConfig } from "../../src/config/load.ts";
import type { AgentName } from "../../src/core/brand.ts";
import type { Actor } from "../../src/core/event.ts";
import { Secret } from "../../src/core/secret.ts";
import type { UserRole } from "../../src/identity/directory.ts";
import { enrolmentPath } from "../../src/identity/users.ts";
import { freePort } from "./documents.ts";
import { auditOf, newFolder, removeFolder } from "./house.ts";
import type { Person } from "./person.ts";
import { createPerson, newPassword } from "./person.ts";

export const operator: Actor = { type: "operator", name: "test" };
export const tickets = { credential: "tickets/api", method: "GET", path: "/tickets", purpose: "a test" } as const;

const policies = `
@id("tickets")
permit (
  principal in Leasehold::Role::"ticket-automation",
  action in [Leasehold::Action::"list", Leasehold::Action::"use", Leasehold::Action::"inject"],
  resource == Leasehold::Credential::"tickets/api"
);
`;

export interface OAuthHouseOptions {
  /** Agents of the configuration, indented by two. */
  readonly agents?: string;
  /** Further lines of the configuration, at the top level. */
  readonly extra?: string;
  /** Further keys of `server`, indented by two. */
  readonly server?: string;
  readonly scheme?: "http" | "https";
  /** Where a proxy in front of it is found. */
  readonly publicUrl?: string;
  /** Called with the folder of the house before it is put together. */
  readonly prepare?: (folder: string) => Promise<void>;
}

export type OAuthHouse = Awaited<ReturnType<typeof serveOAuthHouse>>;

/** The whole broker, put together and served as `leasehold serve` does it, with an API behind it that wants a token. */
export async function serveOAuthHouse(options: OAuthHouseOptions = {}) {
  const { scheme = "http" } = options;
  const api = await startTicketApi();
  const port = await freePort();
  const url = `${scheme}://127.0.0.1:${port}`;
  const folder = await newFolder(policies);
  await options.prepare?.(folder);
  const text = `
server:
  listen: 127.0.0.1:${port}
  publicUrl: ${options.publicUrl ?? url}
${options.server ?? ""}
credentials:
  tickets/api:
    engine: static
    secret: { vault: local, secret: tickets/token }
    http:
      baseUrl: ${api.url}
      header: { name: Authorization, value: "Bearer {{secret}}" }
      privateNetwork: true
      allow: [{ method: GET, path: /** }]
agents:
  watcher: {}
${options.agents ?? ""}
${options.extra ?? ""}`;
  const lines: string[] = [];
  const config = parseConfig(text, join(folder, "leasehold.yaml"), configTables);
  const house = await compose({ config, logger: pino({ level: "warn" }, { write: (line: string) => void lines.push(line) }) });
  await house.vaults["local"]?.write?.("tickets/token", Secret.of("of-the-api"), AbortSignal.timeout(5_000));

  const ending = new AbortController();
  const served = Promise.withResolvers<string>();
  const serving = house.serve(ending.signal, served.resolve).catch((cause: unknown) => {
    served.reject(cause);
    throw cause;
  });
  serving.catch(() => undefined);
  await served.promise;

  return {
    url,
    mcp: `${url}/mcp`,
    folder,
    house,
    log: () => lines.join(""),
    events: () => auditOf(house),

    /** Somebody with an account, who has set up how they sign in. */
    async person(name = "ada", role: UserRole = "member"): Promise<Person> {
      const account = await house.users.add({ name, role }, operator);
      if (account === "taken") throw new Error(`there is a ${name} already`);
      const { token } = await house.users.invite(account.account, operator);
      const person = createPerson({ home: url, name, password: newPassword() });
      await person.enrol(enrolmentPath(token));
      return person;
    },

    /** What an operator does for an agent that has registered itself. */
    grant: (agent: string, ...roles: readonly string[]) => house.agents.add(agent as AgentName, { roles }, operator),

    /** Ends every access token that there is, as if its time had come; the sign-ins that they came of go on. */
    async expire(): Promise<void> {
      for (const { kind, token } of await auditOf(house))
        if (kind === "token.minted") await house.revocations.revoke(String(token), Date.now() + 3_600_000);
    },

    /** The agent of the client that has registered last. */
    async newest(): Promise<string> {
      const clients = (await house.clients.list()).filter(({ source, removed }) => source === "dcr" && !removed);
      return clients.toSorted((a, b) => b.createdAt - a.createdAt)[0]?.agent ?? "";
    },

    async close(): Promise<void> {
      ending.abort();
      await serving;
      await house.close();
      api.server.close();
      await removeFolder(folder);
    },
  };
}

/** Somebody else's API: answers whoever brings its token. */
async function startTicketApi(): Promise<{ readonly url: string; readonly server: Server }> {
  const server = createServer((request, response) => {
    const known = request.headers.authorization === "Bearer of-the-api";
    response.writeHead(known ? 200 : 401, { "content-type": "application/json" }).end(JSON.stringify(known ? [{ id: 1 }] : {}));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return { url: `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`, server };
}
