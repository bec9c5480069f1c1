/** What `leasehold init` writes. Lends nothing until a policy says so, and holds no secret. */
export const starterConfig = `# Leasehold's configuration. Everything in it can live in git: secrets are referred to, never written here.
# Durations are written 30s, 15m, 8h. Paths are relative to this file.
# Check it with \`leasehold doctor\`. Every key: docs/reference/configuration.md

server:
  listen: 127.0.0.1:7420            # this machine only; other addresses need a TLS proxy and trustedProxies
  publicUrl: http://127.0.0.1:7420  # what clients use; MCP is at <publicUrl>/mcp

store: sqlite:./data/leasehold.db

seal: { type: file, path: ./data/master.key }   # keep a copy elsewhere; without it no secret can be read

vaults:
  local: { type: embedded }

# What can be lent. This one mints a PostgreSQL role for each lease and drops it when the lease ends.
credentials:
  billing-db/readonly:
    engine: postgres
    description: Read-only access to the billing database
    labels: { env: dev }
    ttl: { default: 5m, max: 15m }
    target: { host: 127.0.0.1, port: 5432, database: billing }
    admin: { vault: local, secret: billing-db/admin }   # leasehold secret put billing-db/admin --field username --field password
    grants:
      - GRANT SELECT ON ALL TABLES IN SCHEMA public TO {{role}}

# Who may ask. What each may do is in policies/: what no policy permits is denied.
agents:
  reporter: { roles: [data-retrieval], owner: you@example.com }

policy: { directory: ./policies }

# The audit log is in the store. Copies can go elsewhere as well:
# audit:
#   sinks:
#     - { type: file, path: ./data/audit.jsonl }
`;

export const starterIgnore = "# The store and the key that opens it\n/data/\n";
