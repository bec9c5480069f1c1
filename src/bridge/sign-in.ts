import * as oauth from "oauth4webapi";
import { secured } from "./address.ts";
import type { Realm } from "./discovery.ts";
import { withNonce } from "./exchange.ts";
import { BridgeProblem } from "./problem.ts";
import { awaitRedirect } from "./redirect.ts";
import type { Web } from "./web.ts";

/** What a sign-in of a person needs, whichever way it goes. */
export interface SignIn {
  readonly web: Web;
  readonly realm: Realm;
  readonly client: oauth.Client;
  readonly proofs: oauth.DPoPHandle | undefined;
  /** Absent: all that the broker would give. */
  readonly scopes: readonly string[] | undefined;
  /** Says a line to the person. */
  readonly tell: (line: string) => void;
  /** Absent: the person opens it. */
  readonly open: ((url: URL) => void) | undefined;
  /** Milliseconds. */
  readonly wait: (time: number, signal: AbortSignal) => Promise<void>;
  readonly signal: AbortSignal;
}

/** In the browser: code, PKCE, state, and an answer by this issuer only (RFC 8252; RFC 9207 section 2.4). */
export async function signInByBrowser(order: SignIn): Promise<oauth.TokenEndpointResponse> {
  const { web, realm, client, proofs } = order;
  const { as, issuer } = realm;
  if (as.code_challenge_methods_supported?.includes("S256") !== true)
    throw new BridgeProblem("refused", "the authorization server has no PKCE with S256, and nothing less is safe");
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const redirect = await awaitRedirect(state, order.signal);
  try {
    const parameters = {
      ...common(order),
      response_type: "code",
      redirect_uri: redirect.uri,
      state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      ...(proofs ? { dpop_jkt: await proofs.calculateThumbprint() } : {}),
    };
    const url = await authorizationUrl(order, parameters);
    order.tell(`To sign in, open ${url.href}`);
    order.open?.(url);
    const answer = oauth.validateAuthResponse(as, client, await redirect.answer, state);
    return await withNonce(async () =>
      oauth.processAuthorizationCodeResponse(
        as,
        client,
        await oauth.authorizationCodeGrantRequest(as, client, oauth.None(), answer, redirect.uri, verifier, {
          ...web.options(issuer),
          ...(proofs ? { DPoP: proofs } : {}),
          additionalParameters: { resource: realm.resource },
        }),
      ),
    );
  } finally {
    redirect.close();
  }
}

function common({ client, realm, scopes }: SignIn): Record<string, string> {
  return { client_id: client.client_id, resource: realm.resource, ...(scopes ? { scope: scopes.join(" ") } : {}) };
}

/**
 * Pushed first where the server takes that (RFC 9126): a registration that is gone is then told to us, and not to the
 * person as an error page that we never hear of.
 */
async function authorizationUrl(order: SignIn, parameters: Record<string, string>): Promise<URL> {
  const { as, issuer } = order.realm;
  const url = secured(as.authorization_endpoint ?? "", "where the authorization server signs people in");
  if (as.pushed_authorization_request_endpoint === undefined) {
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    return url;
  }
  const pushed = await withNonce(async () =>
    oauth.processPushedAuthorizationResponse(
      as,
      order.client,
      await oauth.pushedAuthorizationRequest(as, order.client, oauth.None(), parameters, {
        ...order.web.options(issuer),
        ...(order.proofs ? { DPoP: order.proofs } : {}),
      }),
    ),
  );
  url.searchParams.set("client_id", order.client.client_id);
  url.searchParams.set("request_uri", pushed.request_uri);
  return url;
}

/** On another device: the person types a code there (RFC 8628), and we ask until they are through. */
export async function signInByDevice(order: SignIn): Promise<oauth.TokenEndpointResponse> {
  const { web, realm, client, proofs, signal } = order;
  const { as, issuer } = realm;
  if (as.device_authorization_endpoint === undefined) throw new BridgeProblem("refused", "the broker has no sign-in by device code");
  const device = await oauth.processDeviceAuthorizationResponse(
    as,
    client,
    await oauth.deviceAuthorizationRequest(as, client, oauth.None(), common(order), web.options(issuer)),
  );
  const page = secured(device.verification_uri, "the page for device codes");
  const code = /^[\x21-\x7e ]{1,64}$/.test(device.user_code) ? device.user_code : undefined;
  if (code === undefined) throw new BridgeProblem("refused", "the authorization server gave a device code that cannot be typed");
  order.tell(`To sign in, open ${page.href} and enter the code ${code}`);
  for (let interval = device.interval ?? 5; ;) {
    await order.wait(interval * 1000, signal);
    try {
      return await withNonce(async () =>
        oauth.processDeviceCodeResponse(
          as,
          client,
          await oauth.deviceCodeGrantRequest(as, client, oauth.None(), device.device_code, {
            ...web.options(issuer),
            ...(proofs ? { DPoP: proofs } : {}),
            additionalParameters: { resource: realm.resource },
          }),
        ),
      );
    } catch (thrown) {
      const error = thrown instanceof oauth.ResponseBodyError ? thrown.error : undefined;
      if (error === "slow_down") interval += 5;
      else if (error !== "authorization_pending") throw thrown;
    }
  }
}
