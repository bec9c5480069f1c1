import type { Socket } from "node:net";
import type { AgentName } from "../core/brand.ts";
import type { Principal } from "../core/principal.ts";
import type { From } from "../identity/access-token.ts";
import type { Admitted } from "./bearer.ts";
import type { ClientCertificate } from "./tls.ts";

export interface CertificateParts {
  /** The certificate at the other end, if our authorities vouch for it and it is in its time. */
  readonly certificateOf: (socket: Socket) => ClientCertificate | undefined;
  /** Agents by the SHA-256 thumbprint (base64url) of their certificate. */
  readonly agents: ReadonlyMap<string, AgentName>;
  readonly stillLive: (caller: Principal) => Promise<boolean>;
  readonly now: () => number;
}

/** Who a TLS client certificate says someone is (RFC 8705). */
export interface CertificateIdentity {
  /** What a token may be bound to (RFC 8705 section 3). */
  thumbprintOf(socket: Socket): string | undefined;
  /** The agent whose certificate was configured. An unknown certificate is nobody. */
  identify(socket: Socket, from: Pick<From, "transport" | "sourceIp">): Admitted<Principal> | undefined;
}

export function createCertificateIdentity({ certificateOf, agents, stillLive, now }: CertificateParts): CertificateIdentity {
  return {
    thumbprintOf: (socket) => certificateOf(socket)?.thumbprint,

    identify(socket, { transport, sourceIp }) {
      const certificate = certificateOf(socket);
      const agent = certificate && agents.get(certificate.thumbprint);
      if (certificate === undefined || agent === undefined) return undefined;
      const caller: Principal = {
        agent,
        kind: "workload",
        chain: [],
        authenticated: { method: "certificate", senderConstrained: true, at: now() },
        session: `certificate:${certificate.thumbprint}`,
        transport,
        ...(sourceIp === undefined ? {} : { sourceIp }),
      };
      const holds = async (): Promise<boolean> => certificateOf(socket) !== undefined && (await stillLive(caller));
      return { caller, right: () => ({ until: certificate.until, holds }) };
    },
  };
}
