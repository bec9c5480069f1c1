import type { IncomingMessage } from "node:http";
import type { Configuration } from "oidc-provider";
import { errors } from "oidc-provider";
import type { Clients } from "../identity/clients.ts";
import { documentAgentName } from "./registration-name.ts";

export interface MetadataDocumentsParts {
  readonly enabled: boolean;
  readonly clients: Pick<Clients, "find" | "register">;
  /** Seconds until this address may register again, or 0 when it may now. */
  readonly take: (ip: string) => number;
  readonly addressOf: (request: IncomingMessage) => string;
}

type Feature = NonNullable<NonNullable<Configuration["features"]>["clientIdMetadataDocument"]>;

/**
 * Clients whose id is the https URL of their metadata (OAuth Client ID Metadata Document, draft 02). The document is
 * read again whenever it is out of date, so only who the client is rests with us, never what it says of itself.
 */
export function createMetadataDocuments({ enabled, clients, take, addressOf }: MetadataDocumentsParts): Feature {
  if (!enabled) return { enabled: false };
  return {
    enabled: true,
    ack: "draft-02",
    cacheDuration: { min: 60, max: 86_400 },

    /** Before anything goes out. All refusals read the same. */
    async allowFetch(context, id) {
      if (!isDocumentUrl(id)) throw refused("not a URL for documents");
      const client = await clients.find(id);
      if (client?.removed || client?.frozen) throw refused("removed or frozen");
      if (!client && take(addressOf(context.req)) > 0) throw refused("too many from this address");
      return true;
    },

    /** On every use, also from the cache. Who comes for the first time becomes an agent without roles. */
    async allowClient(context, { clientId, clientName }) {
      if (await clients.find(clientId)) return isLive(clientId);
      const agent = documentAgentName(clientId);
      const name = clientName === undefined ? {} : { name: clientName };
      const outcome = await clients.register(
        { id: clientId, agent, source: "cimd", ...name, metadata: {}, roles: [] },
        { type: "client", client: clientId, ip: addressOf(context.req) },
      );
      // Taken: by another request for the same document, a moment ago.
      return outcome === "registered" || (outcome === "taken" && (await isLive(clientId)));
    },
  };

  async function isLive(id: string): Promise<boolean> {
    const client = await clients.find(id);
    return client !== undefined && !client.removed && !client.frozen;
  }
}

/** A URL with a path, in printable ASCII, that fits into a token. */
export function isDocumentUrl(id: string): boolean {
  return /^https:\/\/[!-~]+$/.test(id) && id.length <= 512 && (URL.parse(id)?.pathname ?? "/") !== "/";
}

function refused(why: string): Error {
  return new errors.InvalidClient("client_id metadata document fetch failed", why);
}
