import type { Configuration, KoaContextWithOIDC, Provider } from "oidc-provider";
import type { IncomingMessage, ServerResponse } from "node:http";

/**
 * How the rooms of the authorization server meet. `provider.ts` builds the oidc-provider from these; each of them
 * is a file of its own and knows nothing of the others.
 */

/** A step in front of the provider's own handling of a request; it may answer by itself. */
export type Step = (context: KoaContextWithOIDC, next: () => Promise<void>) => Promise<void>;

/** Who may become a client, and what clients there are (RFC 7591, RFC 7592, metadata documents). */
export interface Registration {
  readonly features: Pick<NonNullable<Configuration["features"]>, "registration" | "registrationManagement" | "clientIdMetadataDocument">;
  readonly extraClientMetadata: NonNullable<Configuration["extraClientMetadata"]>;
  /** The provider's own requests (metadata documents, `jwks_uri`), guarded. */
  readonly fetch: NonNullable<Configuration["fetch"]>;
  /** Runs before the provider on registration paths. */
  readonly step: Step;
  /** The provider's records of the model `Client`. */
  readonly adapter: RecordAdapter;
}

/** What the provider asks of a table (its `Adapter`), narrowed to what a model uses. */
export interface RecordAdapter {
  find(id: string): Promise<Record<string, unknown> | undefined>;
  upsert(id: string, payload: Record<string, unknown>, expiresIn?: number): Promise<void>;
  destroy(id: string): Promise<void>;
}

/** How people sign in and consent: pages, and what the provider is to know of accounts. */
export interface People {
  readonly configuration: Pick<Configuration, "findAccount" | "interactions" | "loadExistingGrant" | "renderError">;
  /** Pages of the device flow (RFC 8628): enter the code, confirm it, done. */
  readonly deviceFlow: Pick<
    NonNullable<NonNullable<Configuration["features"]>["deviceFlow"]>,
    "userCodeInputSource" | "userCodeConfirmSource" | "successSource" | "deviceInfo"
  >;
  /** Whether a path below `/oauth/` is one of its pages. */
  handles(path: string): boolean;
  serve(request: IncomingMessage, response: ServerResponse, provider: Provider): Promise<void>;
}

/** A grant type beside the provider's own: workloads, token exchange. */
export interface ExtraGrant {
  readonly name: string;
  readonly parameters: readonly string[];
  /** Parameters that may come more than once. */
  readonly repeatable?: readonly string[];
  readonly handler: (provider: Provider, context: KoaContextWithOIDC) => Promise<void>;
}
