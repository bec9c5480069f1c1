import type { KoaContextWithOIDC } from "oidc-provider";
import type { People } from "./parts.ts";
import type { ClientShown } from "./pages/consent.ts";
import { confirmCodePage, userCodePage } from "./pages/device.ts";
import type { Page } from "./pages/layout.ts";
import { document } from "./pages/layout.ts";
import { errorPage, messagePage } from "./pages/message.ts";

/** The pages that the provider itself asks for: those of the device flow (RFC 8628), and its errors. */
export function createProviderPages(parts: {
  /** Path of the page where codes are entered. */
  readonly devicePath: (context: KoaContextWithOIDC) => string;
  readonly addressOf: (request: KoaContextWithOIDC["req"]) => string;
  readonly show: (id: string, name: string | undefined) => Promise<ClientShown>;
}): { readonly deviceFlow: People["deviceFlow"]; readonly renderError: NonNullable<People["configuration"]["renderError"]> } {
  return {
    deviceFlow: {
      deviceInfo: ({ req }) => ({ address: parts.addressOf(req) }),

      userCodeInputSource(context, _form, _out, error) {
        const said = problemOf(error);
        // Refused by the person: there is nothing left to type.
        if (error?.name === "AbortedError")
          return render(context, messagePage("Refused", "The device gets no access. You can close this page."));
        render(
          context,
          userCodePage({ action: parts.devicePath(context), xsrf: xsrfOf(context), ...(said === undefined ? {} : { error: said }) }),
        );
      },

      async userCodeConfirmSource(context, _form, client, deviceInfo, code) {
        const { address } = deviceInfo;
        const page = {
          action: parts.devicePath(context),
          xsrf: xsrfOf(context),
          client: await parts.show(client.clientId, client.clientName),
          code,
          ...(typeof address === "string" ? { address } : {}),
        };
        render(context, confirmCodePage(page));
      },

      successSource(context) {
        render(context, messagePage("Connected", "Your device gets access now. You can close this page."));
      },
    },

    renderError(context, out) {
      render(context, errorPage(out));
    },
  };
}

function render(context: KoaContextWithOIDC, page: Page): void {
  const { text, headers } = document(page);
  context.set({ ...headers });
  context.body = text;
}

function xsrfOf({ oidc }: KoaContextWithOIDC): string {
  const secret = oidc.session?.state?.["secret"];
  return typeof secret === "string" ? secret : "";
}

/** One sentence for codes that are wrong, used up or too old: whoever guesses learns nothing. */
function problemOf(error: Error | undefined): string | undefined {
  if (!error) return undefined;
  return "userCode" in error || error.name === "NoCodeError"
    ? "This code is not good, or no longer. Check it, or have your device show a new one."
    : "That did not work. Start again with the code that your device shows.";
}
