import type { CommandRow } from "./command.ts";
import { identityCommands } from "./commands-identity.ts";

const subjectOptions: NonNullable<CommandRow["options"]> = [
  ["--user <name>", "a person, instead of an agent"],
  ["--client <id>", "an OAuth client, instead of an agent"],
];

/** How `mcp --server` and `login` sign in. */
const loginOptions: NonNullable<CommandRow["options"]> = [
  ["--server <url>", "the broker's URL; https, or http on this machine"],
  ["--login <way>", "browser, device, workload or github; browser unless said"],
  ["--client-id <id>", "of a client that is registered already; else it registers itself"],
  ["--key <file>", "private key (JWK or PEM) of that client"],
  ["--workload-token-file <file>", "the platform's token, read anew each time"],
  ["--invitation-file <file>", "the invitation to register with; or LEASEHOLD_INVITATION"],
  ["--no-browser", "print the URL and open nothing"],
];

/** Every command, in the order of `leasehold --help`. Its code is imported when it is called, so that no command waits for another's. */
export const commandGroups: readonly { readonly title: string; readonly commands: readonly CommandRow[] }[] = [
  {
    title: "Start",
    commands: [
      {
        name: "init",
        args: "[dir]",
        summary: "write leasehold.yaml, policies/ and data/ with its key; what is there already stays",
        example: "leasehold init broker",
        load: async () => (await import("./commands/init.ts")).init,
      },
      {
        name: "serve",
        summary: "serve MCP over HTTP until it is stopped",
        example: "leasehold serve",
        load: async () => (await import("./commands/serve.ts")).serve,
      },
      {
        name: "mcp",
        summary: "serve MCP on stdin and stdout: for one agent on this machine, or bridged to a broker elsewhere",
        options: [["--agent <name>", "whom this process speaks for"], ...loginOptions],
        example: "leasehold mcp --server https://leasehold.example.com",
        load: async () => (await import("./commands/mcp.ts")).mcp,
      },
      {
        name: "login",
        summary: "sign in to a broker elsewhere, for `mcp --server`",
        options: loginOptions,
        example: "leasehold login --server https://leasehold.example.com",
        load: async () => (await import("./commands/login.ts")).login,
      },
      {
        name: "logout",
        summary: "end that sign-in there, and forget it here",
        options: [["--server <url>", "the broker's URL"]],
        example: "leasehold logout --server https://leasehold.example.com",
        load: async () => (await import("./commands/logout.ts")).logout,
      },
      {
        name: "demo",
        summary: "the whole story on a real PostgreSQL of its own; leaves nothing behind",
        example: "leasehold demo",
        load: async () => (await import("./commands/demo.ts")).demo,
      },
      {
        name: "doctor",
        summary: "check configuration, key, store, vaults, secrets, targets, policies, clock and permissions",
        example: "leasehold doctor --json",
        load: async () => (await import("./commands/doctor.ts")).doctor,
      },
    ],
  },
  {
    title: "Secrets and credentials",
    commands: [
      {
        name: "secret put",
        args: "<name>",
        summary: "store a secret, typed at a prompt or piped in; never an argument",
        options: [
          ["--field <name>", "ask for one field of a JSON object …"],
          ["--vault <name>", "which vault, when there are several"],
        ],
        example: "leasehold secret put billing-db/admin --field username --field password",
        load: async () => (await import("./commands/secret.ts")).put,
      },
      {
        name: "secret list",
        args: "[prefix]",
        summary: "names and versions of secrets, never values",
        options: [["--vault <name>", "this vault only"]],
        example: "leasehold secret list billing-db/",
        load: async () => (await import("./commands/secret.ts")).list,
      },
      {
        name: "secret remove",
        args: "<name>",
        summary: "remove a secret with all its versions",
        options: [["--vault <name>", "which vault, when there are several"]],
        example: "leasehold secret remove billing-db/admin",
        load: async () => (await import("./commands/secret.ts")).remove,
      },
      {
        name: "credential list",
        summary: "what can be lent",
        example: "leasehold credential list",
        load: async () => (await import("./commands/credential.ts")).list,
      },
      {
        name: "credential show",
        args: "<name>",
        summary: "one entry of the catalogue",
        example: "leasehold credential show billing-db/readonly",
        load: async () => (await import("./commands/credential.ts")).show,
      },
      {
        name: "seal rotate",
        summary: "a new key, and everything that is sealed moved to it, while brokers run",
        example: "leasehold seal rotate",
        load: async () => (await import("./commands/seal.ts")).rotate,
      },
    ],
  },
  { title: "Agents, clients and people", commands: identityCommands },
  {
    title: "Policies",
    commands: [
      {
        name: "policy check",
        args: "[dir]",
        summary: "check policies by the code that loads them",
        example: "leasehold policy check policies",
        load: async () => (await import("./commands/policy.ts")).check,
      },
      {
        name: "policy explain",
        summary: "why a request would be allowed or denied, by the code that decides",
        options: [
          ["--agent <name>", "who asks"],
          ["--action <action>", "list, use, inject or reveal; use unless said"],
          ["--credential <name>", "for what"],
          ["--ttl <duration>", "for how long; the credential's default unless said"],
          ["--purpose <text>", "why, in the agent's words"],
          ["--ticket <id>", "the ticket that the agent names"],
          ["--at <time>", "at another time, e.g. 2026-11-22T09:00:00Z"],
        ],
        example: "leasehold policy explain --agent reporter --action use --credential billing-db/readonly",
        load: async () => (await import("./commands/policy.ts")).explain,
      },
    ],
  },
  {
    title: "Leases",
    commands: [
      {
        name: "lease list",
        summary: "live leases",
        options: [
          ["--agent <name>", "of this agent"],
          ["--credential <name>", "of this credential"],
          ["--all", "those that ended, too"],
          ["--limit <count>", "at most this many; 100 unless said"],
        ],
        example: "leasehold lease list --agent reporter",
        load: async () => (await import("./commands/lease.ts")).list,
      },
      {
        name: "lease show",
        args: "<id>",
        summary: "one lease",
        example: "leasehold lease show 01kb3v5c8r2e6y4m0q9t7w1x5z",
        load: async () => (await import("./commands/lease.ts")).show,
      },
      {
        name: "lease revoke",
        args: "<id>",
        summary: "end a lease at its target, open sessions included",
        example: "leasehold lease revoke 01kb3v5c8r2e6y4m0q9t7w1x5z",
        load: async () => (await import("./commands/lease.ts")).revoke,
      },
      {
        name: "freeze",
        args: "[agent]",
        summary: "refuse the next call of an agent, of all that act for a user, or of a client, and end their leases at their targets",
        options: subjectOptions,
        example: "leasehold freeze reporter",
        load: async () => (await import("./commands/freeze.ts")).freeze,
      },
      {
        name: "unfreeze",
        args: "[agent]",
        summary: "let who was frozen ask again",
        options: subjectOptions,
        example: "leasehold unfreeze reporter",
        load: async () => (await import("./commands/freeze.ts")).unfreeze,
      },
      {
        name: "sweep",
        args: "[credential]",
        summary: "list what exists at the targets without a lease",
        options: [["--remove", "and remove it"]],
        example: "leasehold sweep billing-db/readonly",
        load: async () => (await import("./commands/sweep.ts")).sweep,
      },
      {
        name: "run",
        args: "<command...>",
        summary: "run a command with leased credentials in its environment; they end with it",
        options: [
          ["--lease <assignment>", "NAME=credential[:field] with --agent, NAME=handle[:field] with --server …"],
          ["--agent <name>", "borrow as this agent, from the broker's own store"],
          ["--server <url>", "redeem handles at a running broker; the token is in LEASEHOLD_TOKEN"],
          ["--token-file <path>", "the token is in this file"],
          ["--purpose <text>", "why, for the audit log"],
          ["--ttl <duration>", "for how long"],
        ],
        example: "leasehold run --agent reporter --lease PGPASSWORD=billing-db/readonly:password -- psql -h db",
        load: async () => (await import("./commands/run.ts")).withLeases,
      },
    ],
  },
  {
    title: "Audit",
    commands: [
      {
        name: "audit tail",
        summary: "the newest entries of the audit log",
        options: [
          ["-f, --follow", "and those that come"],
          ["-n, --lines <count>", "this many; 10 unless said"],
        ],
        example: "leasehold audit tail -f",
        load: async () => (await import("./commands/audit.ts")).tail,
      },
      {
        name: "audit search",
        summary: "entries that match, oldest first",
        options: [
          ["--agent <name>", "who acted, or was acted upon"],
          ["--credential <name>", "for this credential"],
          ["--lease <id>", "of this lease"],
          ["--kind <kind>", "of this kind, e.g. access.decided"],
          ["--outcome <outcome>", "e.g. deny"],
          ["--correlation <id>", "of this call"],
          ["--since <time>", "from then on; a duration counts back from now"],
          ["--until <time>", "before then"],
          ["--limit <count>", "at most this many"],
        ],
        example: "leasehold audit search --agent reporter --outcome deny --since 2h",
        load: async () => (await import("./commands/audit.ts")).search,
      },
      {
        name: "audit verify",
        args: "[file]",
        summary: "prove that nothing was changed, removed or reordered; offline on an exported file",
        options: [
          ["--checkpoint <file>", "a signed checkpoint that was kept elsewhere …"],
          ["--key <key>", "the verifier key, or a file with it"],
        ],
        example: "leasehold audit verify audit.jsonl --checkpoint checkpoint.txt --key verifier.txt",
        load: async () => (await import("./commands/audit.ts")).verify,
      },
      {
        name: "audit export",
        summary: "the log as JSON Lines",
        options: [
          ["-o, --output <file>", "into this file, mode 0600"],
          ["--from <seq>", "from this entry on"],
          ["--to <seq>", "before this entry"],
        ],
        example: "leasehold audit export -o audit.jsonl",
        load: async () => (await import("./commands/audit.ts")).exportEntries,
      },
      {
        name: "audit checkpoint",
        summary: "sign the log as it is now: keep the result where the broker cannot write",
        options: [
          ["--key", "print the verifier key instead"],
          ["--last", "print the newest one instead of signing"],
        ],
        example: "leasehold audit checkpoint > checkpoint.txt",
        load: async () => (await import("./commands/audit.ts")).checkpoint,
      },
    ],
  },
];
