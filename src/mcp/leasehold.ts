import type { Principal } from "../core/principal.ts";
import type { ServerDefinition } from "./definition.ts";
import type { PreparedTool } from "./tool.ts";
import { createToolbox } from "./toolbox.ts";
import type { ToolboxParts } from "./toolbox.ts";
import { describeCredential } from "./tools/describe-credential.ts";
import { findCredentials } from "./tools/find-credentials.ts";
import { httpRequest } from "./tools/http-request.ts";
import { listLeases } from "./tools/list-leases.ts";
import { queryDatabase } from "./tools/query-database.ts";
import { renewLease } from "./tools/renew-lease.ts";
import { requestLease } from "./tools/request-lease.ts";
import { revokeLease } from "./tools/revoke-lease.ts";
import { whoami } from "./tools/whoami.ts";

/** In the order in which they are listed. `docs/reference` is generated from this table. */
export const tools: readonly PreparedTool[] = [
  whoami,
  findCredentials,
  describeCredential,
  requestLease,
  listLeases,
  renewLease,
  revokeLease,
  httpRequest,
  queryDatabase,
];

const instructions =
  "Leasehold lends you credentials for minutes instead of giving them to you: find_credentials shows what you may use, and http_request " +
  "and query_database do the work without you ever seeing a secret. Say truthfully in `purpose` why you need access, and when a call is " +
  "denied, tell the person you work for instead of trying variations.";

/** The MCP server that agents talk to, over whichever transport. */
export function createLeaseholdServer(parts: Omit<ToolboxParts, "tools"> & { readonly version: string }): ServerDefinition<Principal> {
  return {
    info: { name: "leasehold", title: "Leasehold", version: parts.version },
    instructions,
    tools: createToolbox({ ...parts, tools }),
  };
}
