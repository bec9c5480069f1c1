import type { Requirement } from "./requirements.ts";

/** What the specifications demand of the authorization server, of the resource server and of our own client. Paraphrased, by section. */
export const oauthRequirements: Readonly<Record<string, Requirement>> = {
  // The OAuth 2.0 Authorization Framework.
  "RFC 6749 §3.1.2.3": { says: "A redirect URI is compared as a string with those that were registered." },
  "RFC 6749 §3.2.1": { says: "A client with credentials authenticates at the token endpoint; one without names itself." },
  "RFC 6749 §3.3": { says: "The response tells the scope when it is not what was asked for." },
  "RFC 6749 §4.1.2": { says: "A code is used once and expires within minutes; a second use revokes what came of it." },
  "RFC 6749 §4.1.3": { says: "A code is bound to its client and its redirect URI." },
  "RFC 6749 §5.1": { says: "Token responses are not stored by anyone on the way." },
  "RFC 6749 §5.2": { says: "Errors of the token endpoint have a code; a failed client authentication is 401." },
  "RFC 6749 §6": { says: "A refresh asks for no more than was granted." },

  // Bearer tokens.
  "RFC 6750 §2": { says: "Tokens come in the Authorization header; one in a URL is refused." },
  "RFC 6750 §3": { says: "A request without a valid token gets 401 with a WWW-Authenticate header." },
  "RFC 6750 §3.1": { says: "A token with too little scope gets 403 insufficient_scope, with the scope that is needed." },

  // Revocation and introspection.
  "RFC 7009 §2.1": { says: "Only the client that a token was issued to may revoke it." },
  "RFC 7009 §2.2": { says: "Revoking what is unknown or invalid is a success." },
  "RFC 7662 §2.1": { says: "Introspection needs an authenticated client." },
  "RFC 7662 §2.2": { says: "A token that is revoked, expired, unknown or someone else's is inactive, and nothing more is said." },

  // Registration.
  "RFC 7591 §2": { says: "Redirect URIs of registrations are checked; metadata that are not understood are left out." },
  "RFC 7591 §2.3": { says: "A software statement counts only from an issuer that the operator trusts, and then more than the request." },
  "RFC 7591 §3": { says: "An initial access token that is presented has to be good." },
  "RFC 7591 §3.2.1": { says: "The response repeats what was registered." },
  "RFC 7591 §3.2.2": { says: "A registration that is refused gets 400 with a code." },
  "RFC 7592 §2": { says: "A client manages its own registration, and no other, with its registration access token." },
  "RFC 7592 §2.1": { says: "A client reads its registration." },
  "RFC 7592 §2.2": { says: "A client changes its registration within what it may have." },
  "RFC 7592 §2.3": { says: "A client that removes itself is gone, and its tokens with it." },

  // PKCE.
  "RFC 7636 §4.3": { says: "Codes are asked for with an S256 challenge; plain is refused." },
  "RFC 7636 §4.6": { says: "A code is redeemed with the verifier of its challenge only." },

  // Native apps.
  "RFC 8252 §7.3": { says: "A loopback redirect URI matches on any port." },

  // Metadata.
  "RFC 8414 §2": { says: "The metadata name what the server really does." },
  "RFC 8414 §3.3": { says: "The issuer in the metadata is the one that they were found at, byte for byte." },
  "RFC 9728 §3": { says: "The resource's metadata are at the well-known paths." },
  "RFC 9728 §5.1": { says: "A 401 says where the metadata are." },

  // Token exchange.
  "RFC 8693 §2.1": { says: "A subject token, and an actor token where there is one, are valid and understood, or the request is refused." },
  "RFC 8693 §2.2.1": { says: "The response names the type of the token that was issued." },
  "RFC 8693 §2.2.2": { says: "A subject or actor token that is not acceptable is invalid_request." },
  "RFC 8693 §4.4": { says: "A token that says who may act is exchanged by nobody else." },
  "RFC 8693 §4.1": { says: "The chain of actors is in the token, the current one outermost." },

  // Resource indicators and JWT access tokens.
  "RFC 8707 §2": { says: "A token is for the resource that was asked for; one that is not ours is invalid_target." },
  "RFC 9068 §2.2": { says: "Access tokens carry iss, exp, aud, sub, client_id, iat and jti." },
  "RFC 9068 §4": { says: "Type, issuer, audience, signature and expiry of an access token are checked." },

  // Issuer identification.
  "RFC 9207 §2": { says: "Success and error responses of the authorization endpoint carry iss." },
  "RFC 9207 §2.4": { says: "Our client checks iss before it uses a response." },

  // DPoP.
  "RFC 9449 §4": { says: "Our client proves its key on every request, with the hash of the token." },
  "RFC 9449 §4.3": { says: "A proof is checked in all its parts: type, algorithm, key, method, URI, time, hash of the token." },
  "RFC 9449 §5": { says: "A token that is asked for with a proof is bound to its key; so is a public client's refresh token." },
  "RFC 9449 §7.1": { says: "A bound token is no good as a bearer token." },
  "RFC 9449 §8": { says: "A client that is told a nonce uses it." },
  "RFC 9449 §11.1": { says: "A proof is good once." },

  // Best current practice.
  "RFC 9700 §2.1.2": { says: "No token is issued from the authorization endpoint." },
  "RFC 9700 §2.2.2": { says: "Refresh tokens rotate; a second use revokes the family." },
  "RFC 9700 §4.12": { says: "A form that was sent with a password is never forwarded with it: redirects after it are 303." },
};
