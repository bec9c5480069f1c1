import { z } from "zod";
import { prepare } from "../tool.ts";

export const whoami = prepare({
  name: "whoami",
  title: "Who am I",
  description:
    "Says as whom you are known here: your agent name, roles, the user you act for, what your access token is narrowed to, and how many " +
    "credentials you can see. " +
    "Call it first when something is denied and you want to tell the operator who was refused.",
  input: z.strictObject({}),
  output: z.object({
    agent: z.string(),
    kind: z.enum(["oauth", "workload", "local"]),
    client: z.string().optional().describe("The OAuth client that your access token was issued to."),
    roles: z.array(z.string()),
    owner: z.string().optional(),
    on_behalf_of: z.string().optional().describe("The user you act for."),
    delegation_chain: z.array(z.string()).describe("Agents between you and that user, nearest first."),
    scopes: z.array(z.string()).optional().describe("What your access token is good for. Absent: not narrowed by scopes."),
    narrowed_to: z.array(z.string()).optional().describe("The only credentials it is good for. Absent: not narrowed."),
    authenticated_by: z.enum(["access-token", "local-peer", "certificate"]),
    sender_constrained: z.boolean().describe("Whether you proved to hold the key that your identity is bound to."),
    authenticated_at: z.string().describe("ISO 8601, UTC."),
    transport: z.string(),
    session: z.string(),
    visible_credentials: z.int().describe("find_credentials lists them."),
  }),
  annotations: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false },
  listed: () => true,
  async run({ broker, principal }) {
    const { agent, visible } = await broker.outlook(principal);
    return {
      agent: agent.name,
      kind: principal.kind,
      ...(principal.client === undefined ? {} : { client: principal.client }),
      roles: [...agent.roles],
      ...(agent.owner === undefined ? {} : { owner: agent.owner }),
      ...(principal.onBehalfOf ? { on_behalf_of: principal.onBehalfOf.email ?? principal.onBehalfOf.subject } : {}),
      delegation_chain: [...principal.chain],
      ...(principal.scopes ? { scopes: [...principal.scopes] } : {}),
      ...(principal.credentials ? { narrowed_to: [...principal.credentials] } : {}),
      authenticated_by: principal.authenticated.method,
      sender_constrained: principal.authenticated.senderConstrained,
      authenticated_at: new Date(principal.authenticated.at).toISOString(),
      transport: principal.transport,
      session: principal.session,
      visible_credentials: visible.length,
    };
  },
});
