const asked = `    purpose: String,
    ticket?: String,
    ttl: Long,
    transport: String,
    sourceIp?: ipaddr,
    now: datetime,
    client?: String,
    onBehalfOf?: User,
    chain: Set<String>,
    authenticated: Authenticated,
    session: Session,
    approvals: Set<String>`;

/**
 * The vocabulary that every policy is checked against. It is text in a module so that it cannot be
 * missing at run time; `schema.cedarschema` is the same text for editors and for the documentation, and
 * a test keeps the two equal. What is marked with `?` may be absent, and strict validation refuses a
 * policy that reads it without asking `has` first.
 */
export const schemaText = `// The vocabulary of Leasehold policies. Facts come from verified sources: token claims, the agent's
// registration, the catalogue, the broker's own records. Only purpose and ticket are the agent's own words.
namespace Leasehold {
  entity Role;
  entity Team;
  entity Folder;
  entity Toolset;

  // The id is the agent's name. Parents: its roles.
  entity Agent in [Role] {
    kind: String,          // "oauth", "workload" or "local"
    owner?: String,
    registeredBy: String,  // "operator", "dcr", "cimd", "federation" or "local"
    frozen: Bool,
  };

  // The id is "<issuer>#<subject>": a subject means nothing without the issuer that vouches for it. Parents: their
  // teams, "<issuer>#<team>".
  entity User in [Team] {
    email?: String,
    issuer: String,
  };

  // The id is the name in the catalogue. Parents: a folder for each leading part of the name, so that
  // "billing-db/readonly" is in Folder::"billing-db". Tags: its labels.
  entity Credential in [Folder] {
    engine: String,
    exposed: Bool,         // whether the value was ever revealed
  } tags String;

  // Tools of upstream servers, and administrative ones.
  entity Tool in [Toolset] {
    server: String,
    destructive: Bool,
  };

  type Authenticated = {
    method: String,        // "access-token", "certificate" or "local-peer"
    senderConstrained: Bool,
    ageSeconds: Long,
  };

  // What this session already touched: the ground for rules about chains.
  type Session = {
    ageSeconds: Long,
    leases: Long,
    lentLabels: Set<String>,   // "key=value" of every label of every credential lent so far
    calledTools: Set<String>,
  };

  // client: the OAuth client that the token was issued to. chain: agents that the caller acts for, nearest first;
  // policy is asked for each of them too, and all must be allowed.
  type Asked = {
${asked},
  };

  // A use also carries the operation, once there is one: a lease is asked for before its first operation.
  type AskedToUse = {
${asked},
    http?: { method: String, host: String, path: String },
    sql?: { verbs: Set<String>, tables: Set<String> },
    ssh?: { host: String, command: String },
  };

  action list, inject, reveal appliesTo { principal: Agent, resource: Credential, context: Asked };
  action use appliesTo { principal: Agent, resource: Credential, context: AskedToUse };
  action call appliesTo { principal: Agent, resource: Tool, context: Asked };

  // What operators do.
  action approve appliesTo { principal: User, resource: [Credential, Tool], context: Asked };
  action freeze appliesTo { principal: User, resource: [Agent, User, Credential], context: Asked };
  action administer, audit appliesTo { principal: User, resource: Tool, context: Asked };
}
`;
