import { oauthRequirements } from "./requirements-oauth.ts";

/**
 * What has to hold, with an id that tests cite in their titles. `test/gates/requirements.test.ts` fails
 * for a clause that no test cites, for an id that stands nowhere here, and for a clause that is marked
 * as not covered although a test cites it.
 */
export interface Requirement {
  readonly says: string;
  /** Why no test shows it yet. Absent: one must. */
  readonly notYet?: string;
}

export const requirements: Readonly<Record<string, Requirement>> = {
  ...oauthRequirements,

  // Our own promises.
  "P-1": { says: "No audit, no credential: if the audit write fails, nothing is minted, released or performed." },
  "P-2": { says: "Killed anywhere, no credential lives at a target without a lease afterwards, and no lease is lost." },
  "P-3": { says: "Revocation is proven at the target: the login fails and the open session is dead." },
  "P-4": { says: "Default deny, per call, on verified facts only; a policy change takes effect on the next call." },
  "P-5": { says: "A canary planted in a vault shows up in no result, log, error, audit event or database file." },
  "P-6": { says: "Editing, reordering, deleting or truncating the audit log is detected, offline, from a checkpoint." },
  "P-7": { says: "Whatever fails inside policy, identity, audit or a vault denies." },
  "P-8": {
    says: "Embedded and PostgreSQL stores behave the same, by one contract suite.",
    notYet: "PostgreSQL as the broker's own store is not part of this release",
  },

  // Attacks on OAuth, registration and tokens.
  "OA-01": { says: "Redirect URIs off by anything are refused, without a redirect." },
  "OA-02": { says: "Dangerous redirect URIs cannot be registered." },
  "OA-03": { says: "URLs in a registration are not fetched, but for keys, guarded." },
  "OA-04": { says: "Hostile client names are bounded, escaped, and shown as unverified." },
  "OA-05": { says: "A flood of registrations is stopped, bounded, and harms nobody else." },
  "OA-06": { says: "A registration cannot give itself more, nor manage another." },
  "OA-07": { says: "PKCE absent, plain, or with the wrong verifier is refused." },
  "OA-08": { says: "A code is redeemed once, however many come at once; a replay revokes and is a finding." },
  "OA-09": { says: "A code of another client, or with another redirect URI, is refused." },
  "OA-10": { says: "A refresh token is used once; reuse revokes the family and is a finding." },
  "OA-11": { says: "A refresh for more scope or another resource is refused." },
  "OA-12": { says: "Consent to one client is none to another." },
  "OA-13": { says: "Forms without their token, from elsewhere, or in frames are refused." },
  "OA-14": { says: "Success and error responses carry iss." },
  "OA-15": { says: "Host and forwarding headers change nothing in the metadata." },
  "OA-17": { says: "A token for another audience or issuer is refused with the resource metadata." },
  "OA-18": { says: "Malformed and forged JWS are refused without an outbound request." },
  "OA-20": { says: "DPoP proofs that are replayed, for another request, or absent are refused." },
  "OA-21": { says: "Addresses inside, in any spelling or by rebinding, are refused before a connection is made." },
  "OA-23": { says: "A client with a loopback redirect is warned of and never approved by itself." },
  "OA-24": { says: "A client neither introspects nor revokes another's token." },

  // Attacks on MCP and its transports.
  "MT-01": { says: "A foreign Host or Origin on loopback is refused." },
  "MT-02": { says: "CORS with credentials is not reflected." },
  "MT-03": { says: "A legacy session id is no identity: the bearer token alone is." },
  "MT-04": { says: "A lease id of someone else answers like one that does not exist, and is audited." },
  "MT-06": { says: "A stream of another caller is not found." },
  "MT-07": { says: "Malformed JSON-RPC is an error, without a crash or a changed prototype." },
  "MT-08": { says: "Oversize, slow and compressed bodies are refused; memory is bounded." },
  "MT-10": { says: "Headers that contradict the body are refused." },
  "MT-11": { says: "Every endpoint without a token answers 401 and names nothing." },
  "MT-13": { says: "Hostile patterns do not stall the event loop." },
  "MT-14": { says: "Only https and loopback URLs are opened, and never through a shell." },

  // Attacks on policy and leases.
  "PL-02": { says: "A policy revoked between check and issue leaves no credential." },
  "PL-03": { says: "A permission for one time is good for one operation, however many come at once." },
  "PL-04": { says: "What an agent claims in arguments never counts as a fact." },
  "PL-05": { says: "Renewal beyond the limit is capped; nonsense is refused." },
  "PL-07": { says: "No delegated token outlives its parent." },
  "PL-08": { says: "Killed at any point of issue and revoke, no user is left without a lease." },
  "PL-09": { says: "A target that is down at revoke is retried, shown as not revoked, alarmed, and finished later." },
  "PL-10": { says: "A role that is already gone is an idempotent success." },
  "PL-11": { says: "A live session is ended by a revocation." },
  "PL-14": { says: "An agent that takes all leases is stopped alone." },
  "PL-15": { says: "A one-time handle is redeemed exactly once, by its owner, in time." },

  // Exfiltration.
  "EX-01": { says: "No tool gives raw values unless policy says reveal." },
  "EX-03": { says: "A placeholder in what an agent sends is not substituted." },
  "EX-05": { says: "A credential that a target echoes is found by value in every encoding." },
  "EX-06": { says: "Errors carry no secret." },
  "EX-07": { says: "Canaries are in no log, database file or process list." },
  "EX-10": { says: "The client's own token is never forwarded." },
  "EX-12": { says: "Names that carry SQL are quoted." },
  "EX-13": { says: "A command is an argument list, never a shell." },

  // The audit log.
  "AU-01": { says: "Edit, delete, reorder, insert, duplicate: verification names the first bad entry." },
  "AU-03": { says: "When the audit write fails, the request is refused and nothing released." },
  "AU-04": { says: "A sink that is down or deaf holds nobody up, and loses nothing." },
  "AU-06": { says: "Killed at each write, no acknowledged entry is lost and the log opens." },
  "AU-07": { says: "A sink with a wrong certificate is refused.", notYet: "sinks over TLS are not part of this release" },

  // The kill switch.
  "RD-01": { says: "Freezing an agent ends its calls and its leases at the target." },
  "RD-03": { says: "A partitioned broker refuses.", notYet: "several brokers on one store are not part of this release" },
};
