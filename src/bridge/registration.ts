import * as oauth from "oauth4webapi";
import type { Realm } from "./discovery.ts";
import { refusal } from "./exchange.ts";
import { BridgeProblem } from "./problem.ts";
import type { Web } from "./web.ts";

/** Any port of it may be used (RFC 8252 section 7.3), so the one at registration does not matter. */
export const redirectPath = "/callback";
const redirect = `http://127.0.0.1${redirectPath}`;
const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code";

/** Becomes a client of its own (RFC 7591). An invitation binds it to the role that it was made for. Answers with the client id. */
export async function register(
  web: Web,
  { as, issuer }: Realm,
  { hostname, invitation }: { readonly hostname: string; readonly invitation: string | undefined },
): Promise<string> {
  if (as.registration_endpoint === undefined)
    throw new BridgeProblem("refused", "the broker takes no registrations", {
      fix: "Ask its operator for a client id, and give it with --client-id.",
    });
  const metadata = {
    client_name: `Leasehold bridge on ${hostname.replaceAll(/[^A-Za-z0-9._-]/g, "-").slice(0, 64)}`,
    application_type: "native",
    redirect_uris: [redirect],
    response_types: ["code"],
    grant_types: ["authorization_code", "refresh_token", ...(as.grant_types_supported?.includes(deviceGrant) ? [deviceGrant] : [])],
    token_endpoint_auth_method: "none",
  };
  try {
    const response = await oauth.dynamicClientRegistrationRequest(as, metadata, {
      ...web.options(issuer),
      ...(invitation === undefined ? {} : { initialAccessToken: invitation }),
    });
    return (await oauth.processDynamicClientRegistrationResponse(response)).client_id;
  } catch (thrown) {
    throw await refusal(
      thrown,
      "the broker did not register this client",
      invitation === undefined
        ? "Ask its operator for an invitation, and give it with --invitation-file."
        : "The invitation may have been used or have run out: ask for a new one.",
    );
  }
}
