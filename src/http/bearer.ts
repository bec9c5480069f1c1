import type { IncomingMessage } from "node:http";
import { asFailure, Failure } from "../core/errors.ts";
import type { AgentName } from "../core/brand.ts";
import { networkOf } from "../core/network.ts";
import type { Principal } from "../core/principal.ts";
import type { AccessTokens, From, VerifiedToken } from "../identity/access-token.ts";
import type { Dpop, DpopProof } from "../identity/dpop.ts";
import { createBuckets } from "./bucket.ts";
import type { CertificateIdentity } from "./certificate.ts";
import type { Challenges, Scheme } from "./challenge.ts";
import { Refusal } from "./refusal.ts";
import type { RefusedLogins } from "./refused-logins.ts";
import type { Right } from "./streams.ts";

export interface BearerParts {
  readonly tokens: Pick<AccessTokens, "principal" | "verify" | "live">;
  readonly dpop: Dpop;
  /** What a TLS client certificate says; absent where none is asked for. */
  readonly certificates?: CertificateIdentity;
  readonly mustBeBound: (agent: AgentName) => boolean;
  /** Whether the agent may still be served: for streams that are open already. */
  readonly stillLive: (caller: Principal) => Promise<boolean>;
  /** How clients reach us, without a trailing slash: proofs are for URLs below it. */
  readonly publicUrl: string;
  /** By the way that the caller came: each is told of the metadata of its own resource. */
  readonly challenges: Readonly<Record<"http" | "sse", Challenges>>;
  readonly refused: RefusedLogins;
  /** Failed attempts from one address: so many at once, and so many per second after that. */
  readonly failures: { readonly burst: number; readonly perSecond: number };
  readonly now: () => number;
}

export interface Admitted<Caller> {
  readonly caller: Caller;
  /** How its token came; `Bearer` also where there is none. */
  readonly scheme?: Scheme;
  /** What its being here rests on, for answers that take long. Absent: nothing that could end. */
  readonly right?: () => Right;
}

export type Authenticate<Caller> = (request: IncomingMessage, ip: string, transport: "http" | "sse") => Promise<Admitted<Caller>>;

const credentials = /^(Bearer|DPoP) ([A-Za-z0-9._~+/-]+=*)$/i;

/**
 * A token in the `Authorization` header is the way to be someone over HTTP: a bearer token (RFC 6750 section 2.1), or one that is bound
 * to a key, with a proof for this very request (RFC 9449 section 7.1). Where client certificates are accepted, a configured one will do
 * without a token.
 */
export function createBearer(parts: BearerParts): Authenticate<Principal> {
  const { tokens, dpop, certificates } = parts;
  const failures = createBuckets({ ...parts.failures, now: parts.now });

  /** Good tokens are never slowed down by bad ones from the same address. */
  function refuse(ip: string, why: string, refusal: Refusal): Refusal {
    parts.refused.note(why, ip);
    const wait = failures.take(networkOf(ip));
    return wait > 0 ? new Refusal(429, "too_many_failures", "Too many failed attempts.", { "retry-after": String(wait) }) : refusal;
  }

  /** `unauthenticated` becomes what `refusal` says; everything else goes on as it is. */
  async function orRefuse<T>(ip: string, refusal: () => Refusal, attempt: () => T | Promise<T>): Promise<T> {
    try {
      return await attempt();
    } catch (thrown) {
      const failure = asFailure(thrown);
      if (failure.code !== "unauthenticated") throw failure;
      throw refuse(ip, failure.cause instanceof Error ? failure.cause.message : "invalid token", refusal());
    }
  }

  async function callerOf(token: string, from: From, proof: DpopProof | undefined): Promise<Principal> {
    const caller = await tokens.principal(token, from);
    if (parts.mustBeBound(caller.agent) && !caller.authenticated.senderConstrained) throw unauthenticated("token is not bound to a key");
    if (proof) {
      const { bound } = tokens.verify(token);
      if (bound === undefined || !("jkt" in bound)) throw unauthenticated("token of the DPoP scheme is not bound to a key");
    }
    return caller;
  }

  function proofIn(request: IncomingMessage, token: string): DpopProof {
    const { dpop: header } = request.headers;
    if (typeof header !== "string") throw unauthenticated("no DPoP proof");
    const path = (request.url ?? "").split("?", 1)[0] ?? "";
    return dpop.check(header, { method: request.method ?? "", url: parts.publicUrl + path, token });
  }

  return async (request, ip, transport) => {
    const header = request.headers.authorization;
    const challenges = parts.challenges[transport];
    const source = { transport, ...(ip === "" ? {} : { sourceIp: ip }) };
    if (header === undefined) {
      const admitted = certificates?.identify(request.socket, source);
      if (admitted) return admitted;
      // How clients find out where to get a token: on record, but no guess, and never slowed down.
      parts.refused.note("no token", ip);
      throw challenges.noToken();
    }
    const [, named = "", token] = credentials.exec(header) ?? [];
    const scheme: Scheme = named.toLowerCase() === "dpop" ? "DPoP" : "Bearer";
    if (token === undefined)
      throw refuse(ip, "no bearer token", challenges.invalidToken(scheme, "Send the token as Authorization: Bearer TOKEN."));

    const proof =
      scheme === "DPoP"
        ? await orRefuse(
            ip,
            () => challenges.invalidProof(),
            () => proofIn(request, token),
          )
        : undefined;
    const thumbprint = certificates?.thumbprintOf(request.socket);
    const proved = { ...(proof ? { jkt: proof.jkt } : {}), ...(thumbprint === undefined ? {} : { "x5t#S256": thumbprint }) };
    const caller = await orRefuse(
      ip,
      () => challenges.invalidToken(scheme, "The access token is not valid, has expired or was revoked."),
      () => callerOf(token, { ...source, proved }, proof),
    );
    if (proof)
      await orRefuse(
        ip,
        () => challenges.invalidProof(),
        () => dpop.spend(proof),
      );
    return { caller, scheme, right: () => rightOf(parts, tokens.verify(token), caller) };
  };
}

/** Apart from the function above, so that what lives as long as a stream does not hold the token. */
function rightOf(parts: BearerParts, token: VerifiedToken, caller: Principal): Right {
  return {
    until: token.expiresAt,
    async holds() {
      await parts.tokens.live(token);
      return parts.stillLive(caller);
    },
  };
}

function unauthenticated(why: string): Failure {
  return new Failure("unauthenticated", {}, { cause: new Error(why) });
}
