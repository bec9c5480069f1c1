import type { Interaction, InteractionResults } from "oidc-provider";
import { userActor } from "../identity/users.ts";
import type { Account } from "../identity/directory.ts";
import { chosen, credentialsIn, formTargets, grantOf, readAsked, scopesIn } from "./consent.ts";
import { consentPage } from "./pages/consent.ts";
import { onwardPage } from "./pages/message.ts";
import { signInPage } from "./pages/sign-in.ts";
import type { Form } from "./people-request.ts";
import { PageRefusal, readForm, seeOther, sendPage } from "./people-request.ts";
import type { Rooms, Visit } from "./people-visit.ts";
import { csrfOf, mayStay, openidCookie } from "./people-visit.ts";
import { scopes } from "../core/scope.ts";

type Visited = Awaited<ReturnType<typeof find>>;

/** The pages between a client's request and its answer: who are you, and may it? */
export function createInteractions(rooms: Rooms) {
  const { users, signIn, passkeys, openid } = rooms;

  async function showSignIn(
    visit: Visit,
    interaction: Visited,
    status = 200,
    said: { readonly error?: string; readonly name?: string; readonly retryAfter?: number } = {},
  ): Promise<void> {
    const { params, uid } = interaction;
    const client = await clientOf(visit, interaction);
    const page = signInPage({
      ...formParts(uid),
      client: client.name,
      ...(said.error === undefined ? {} : { error: said.error }),
      ...(said.name === undefined ? {} : { name: said.name }),
      ...(passkeys ? { passkey: passkeys.requestOptions(uid) } : {}),
      ...(openid ? { provider: openid.host } : {}),
      cancel: true,
      formAction: formTargets(params["redirect_uri"]),
    });
    sendPage(visit.response, status, page, said.retryAfter === undefined ? {} : { "retry-after": String(said.retryAfter) });
  }

  async function showConsent(visit: Visit, interaction: Visited, account: Account, status = 200, error?: string): Promise<void> {
    const wanted = readAsked(interaction.prompt.details);
    const { agent } = await agentOf(interaction);
    const credentials = credentialsIn(wanted);
    const page = consentPage({
      ...formParts(interaction.uid),
      client: await clientOf(visit, interaction),
      user: account.name,
      agent: agent.name,
      roles: agent.roles,
      scopes: scopesIn(wanted).map((scope) => ({ scope, says: scopes[scope].says })),
      ...(credentials ? { credentials } : {}),
      ...(error === undefined ? {} : { error }),
      formAction: formTargets(interaction.params["redirect_uri"]),
    });
    sendPage(visit.response, status, page);
  }

  function formParts(uid: string) {
    return { action: `${rooms.base}/oauth/interaction/${uid}`, csrf: csrfOf(rooms, "interaction", uid) };
  }

  async function clientOf({ provider }: Visit, { params }: Visited) {
    const id = String(params["client_id"]);
    return rooms.show(id, (await provider.Client.find(id))?.clientName, params["redirect_uri"]);
  }

  /** The client, and what our records say of the agent that it is. A client that is no agent gets nothing. */
  async function agentOf({ params }: Visited) {
    const client = await rooms.clients.find(String(params["client_id"]));
    const agent = client && !client.removed && !client.frozen ? await rooms.agents.find(client.agent) : undefined;
    if (!client || !agent) throw new PageRefusal(403, "This app is not admitted", "It was removed or stopped. Ask the operator.");
    return { client, agent };
  }

  async function answerSignIn(visit: Visit, interaction: Visited, form: Form): Promise<void> {
    const what = form.get("do");
    if (what === "cancel") return finish(visit, interaction, { error: "access_denied", error_description: "the person did not sign in" });
    if (what === "openid" && openid) return leave(visit, interaction.uid);
    if (what !== "password" && what !== "passkey") throw new PageRefusal(400, "This does not work", "Go back and try again.");
    const outcome = what === "password" ? await signIn.password(form, visit.ip) : await signIn.passkey(form, interaction.uid, visit.ip);
    if (outcome.account) return enter(visit, interaction, outcome.account);
    return showSignIn(visit, interaction, outcome.status, { ...outcome, name: form.get("name").slice(0, 63) });
  }

  /** To the provider, by a page that goes on by itself: as an answer to a form it would be held to `form-action`, with all that follows there. */
  async function leave({ response }: Visit, bound: string): Promise<void> {
    if (!openid) return;
    const { location, cookie } = await openid.begin(bound).catch((cause: unknown) => {
      throw new PageRefusal(503, "Not now", `${openid.host} cannot be reached at the moment. Try again later, or sign in another way.`, {
        cause,
      });
    });
    const { name, attributes } = openidCookie(rooms);
    response.appendHeader("set-cookie", `${name}=${cookie}; Max-Age=600; ${attributes}`);
    sendPage(response, 200, onwardPage("One moment", location, openid.host));
  }

  /** Signed in: back to the authorization endpoint, which knows how to go on. */
  async function enter(visit: Visit, interaction: Visited, account: Account): Promise<void> {
    if (interaction.session && interaction.session.accountId !== account.account) await forget(visit, interaction);
    // With fractions of a second, so that "every sign-in from before now" is exact.
    return finish(visit, interaction, { login: { accountId: account.account, ts: rooms.now() / 1000 } });
  }

  async function answerConsent(visit: Visit, interaction: Visited, account: Account, form: Form): Promise<void> {
    const wanted = readAsked(interaction.prompt.details);
    const all = scopesIn(wanted);
    const granted = chosen(all, form.all("scope"));
    const { client } = await agentOf(interaction);
    const about = { actor: userActor(account, visit.ip), user: account.account, client: client.id, agent: client.agent };
    switch (form.get("do")) {
      case "allow": {
        if (all.length > 0 && granted.length === 0)
          return showConsent(visit, interaction, account, 400, "Leave at least one tick, or refuse.");
        await rooms.audit.append({ kind: "consent.given", ...about, scope: granted.join(" ") });
        const grant = grantOf(visit.provider, { accountId: account.account, clientId: client.id }, wanted, granted);
        return finish(visit, interaction, { ...interaction.lastSubmission, consent: { grantId: await grant.save() } });
      }
      case "refuse":
        await rooms.audit.append({ kind: "consent.refused", ...about, scope: all.join(" ") });
        return finish(visit, interaction, { error: "access_denied", error_description: "the person refused" });
      case "switch":
        await forget(visit, interaction);
        return finish(visit, interaction, {});
      default:
        throw new PageRefusal(400, "This does not work", "Go back and try again.");
    }
  }

  return {
    async serve(visit: Visit, uid: string): Promise<void> {
      const interaction = await find(visit, uid);
      const { name } = interaction.prompt;
      const post = visit.request.method === "POST";
      const form = post ? await readForm(visit.request, rooms.publicUrl, csrfOf(rooms, "interaction", uid)) : undefined;
      if (name === "login") return form ? answerSignIn(visit, interaction, form) : showSignIn(visit, interaction);
      if (name !== "consent") throw new Error(`a prompt that there is no page for: ${name}`);
      const account = interaction.session && (await users.find(interaction.session.accountId));
      if (!mayStay(account)) throw new PageRefusal(403, "This account is closed", "Ask the operator.");
      return form ? answerConsent(visit, interaction, account, form) : showConsent(visit, interaction, account);
    },

    leave,

    /** Back from the OpenID provider. The cookie that came along says that it was this browser that left from this interaction. */
    async returned(visit: Visit, uid: string, account: Account): Promise<void> {
      const interaction = await visit.provider.Interaction.find(uid);
      if (interaction?.prompt.name !== "login") throw tooLate();
      return enter(visit, interaction, account);
    },
  };
}

/** Signs the browser out; what agents were allowed before stays. */
async function forget({ provider }: Visit, interaction: Visited): Promise<void> {
  if (interaction.session) await (await provider.Session.findByUid(interaction.session.uid))?.destroy();
  interaction.session = undefined;
}

async function finish({ response }: Visit, interaction: Visited, result: InteractionResults): Promise<void> {
  interaction.result = result;
  await interaction.persist();
  seeOther(response, interaction.returnTo);
}

/** The interaction of this browser: its cookie must name the one of the address. */
async function find({ provider, request, response }: Visit, uid: string): Promise<Interaction> {
  const interaction = await provider.interactionDetails(request, response).catch((cause: unknown) => {
    if (cause instanceof Error && cause.name === "SessionNotFound") return undefined;
    throw cause;
  });
  if (interaction?.uid !== uid) throw tooLate();
  return interaction;
}

function tooLate(): PageRefusal {
  return new PageRefusal(
    403,
    "This has expired",
    "It was not started in this browser, or too long ago. Go back to the app and start again.",
  );
}
