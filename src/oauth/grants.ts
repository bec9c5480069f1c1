import type { Provider, TokenEndpointGrantContext } from "oidc-provider";
import type { OAuthConfig } from "../config/config.ts";
import type { AccessTokens } from "../identity/access-token.ts";
import type { Agents } from "../identity/agents.ts";
import type { UserDirectory } from "../identity/directory.ts";
import { createEnterprise } from "./federation-enterprise.ts";
import type { EnterpriseParts } from "./federation-enterprise.ts";
import { createFederation } from "./federation.ts";
import type { AssertionParts } from "./grants-assertion.ts";
import { createAssertions } from "./grants-assertion.ts";
import { createExchange } from "./grants-exchange.ts";
import type { IssuingParts } from "./grants-issue.ts";
import { createIssuing, isGrantContext, parameter } from "./grants-issue.ts";
import { createGuard } from "./grants-refusal.ts";
import type { ExtraGrant } from "./parts.ts";

export const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";
export const tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange";

export interface ExtraGrantParts extends Pick<IssuingParts, "issuer" | "resource" | "clients" | "audit" | "now" | "mustBind"> {
  readonly config: Pick<OAuthConfig, "federation" | "enterprise" | "accessTokenTtl">;
  readonly tokens: AccessTokens;
  readonly agents: Pick<Agents, "find" | "add">;
  readonly users: UserDirectory;
  readonly ensureUser: AssertionParts["ensureUser"];
  readonly once: EnterpriseParts["once"];
  readonly fetch: typeof globalThis.fetch;
}

/** The grants beside the provider's own. Throws `SetupError` for a configuration that cannot be meant. */
export function createExtraGrants(parts: ExtraGrantParts): readonly ExtraGrant[] {
  const { config, issuer } = parts;
  const { accessTokenTtl } = config;
  const federation = createFederation({ ...parts, rules: config.federation });
  const enterprise = createEnterprise({ ...parts, providers: config.enterprise });
  const issuing = createIssuing(parts);
  const assertions = createAssertions({ ...parts, federation, enterprise, issuing, accessTokenTtl });
  const exchange = createExchange({ ...parts, issuer, assertions, issuing, accessTokenTtl });
  const guard = createGuard(parts);

  const handler =
    (name: string, unacceptable: "invalid_grant" | "invalid_request", run: Run): ExtraGrant["handler"] =>
    (provider, context) =>
      guard(context, { name, unacceptable }, async () => {
        if (!isGrantContext(context)) throw new Error("a grant without a client");
        await run(provider, context);
      });

  return [
    {
      name: jwtBearer,
      parameters: ["assertion", ...common],
      repeatable: ["resource"],
      handler: handler(jwtBearer, "invalid_grant", (provider, context) =>
        assertions.bearer(provider, context, parameter(context, "assertion"), jwtBearer),
      ),
    },
    {
      name: tokenExchange,
      parameters: ["subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type", "audience", ...common],
      repeatable: ["resource", "audience"],
      handler: handler(tokenExchange, "invalid_request", (provider, context) => exchange(provider, context, tokenExchange)),
    },
  ];
}

const common = ["scope", "resource", "authorization_details"];

type Run = (provider: Provider, context: TokenEndpointGrantContext) => Promise<void>;
