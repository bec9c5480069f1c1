import type { Account } from "../identity/directory.ts";
import { passwordProblem, shortestPassword } from "../identity/password.ts";
import type { EnrolProof } from "../identity/users.ts";
import { enrolmentPath, wantsCode } from "../identity/users.ts";
import { enrollPage } from "./pages/enroll.ts";
import { messagePage } from "./pages/message.ts";
import type { Form } from "./people-request.ts";
import { PageRefusal, readForm, sendPage } from "./people-request.ts";
import type { Rooms, Visit } from "./people-visit.ts";
import { csrfOf } from "./people-visit.ts";

/** The page behind a one-time link. Looking at it uses nothing up: mail programs look at links, too. */
export function createEnrolment(rooms: Rooms) {
  const { users, passkeys } = rooms;
  const bound = (link: string): string => `enrol ${link}`;

  function show({ response }: Visit, link: string, account: Account, status = 200, error?: string, key = users.codes.newKey()): void {
    const page = enrollPage({
      action: `${rooms.base}${enrolmentPath(link)}`,
      csrf: csrfOf(rooms, "enrol", link),
      name: account.name,
      wantsCode: wantsCode(account.role),
      key,
      uri: users.codes.uri(key, { issuer: `Leasehold ${new URL(rooms.publicUrl).host}`, name: account.name }),
      ...(passkeys ? { passkey: passkeys.creationOptions(bound(link), account) } : {}),
      ...(error === undefined ? {} : { error }),
      shortest: shortestPassword,
    });
    sendPage(response, status, page);
  }

  /** What the person chose, or what is wrong with it. */
  function proofIn(form: Form, link: string, account: Account): EnrolProof | string {
    if (form.get("do") === "passkey") {
      try {
        if (passkeys) return { passkey: passkeys.register(form.get("passkey"), bound(link)) };
      } catch {
        // What exactly was wrong with it is nothing that a person could put right.
      }
      return "This passkey cannot be used. Try again, or choose a password.";
    }
    const password = form.get("password");
    const problem = passwordProblem(password, account.name);
    if (problem !== undefined) return problem;
    if (password !== form.get("again")) return "The two passwords differ.";
    const [key, code] = [form.get("key"), form.get("code").trim()];
    if (code === "" && !wantsCode(account.role)) return { password };
    const step = users.codes.stepOf(key, code);
    return step === undefined
      ? "The code is not right. Enter the key in your app, and then the code that it shows."
      : { password, totp: { key, step } };
  }

  return async function serve(visit: Visit, link: string): Promise<void> {
    const { request, response, ip } = visit;
    const account = await users.invited(link);
    if (!account) throw gone();
    if (request.method !== "POST") return show(visit, link, account);
    const form = await readForm(request, rooms.publicUrl, csrfOf(rooms, "enrol", link));
    const proof = proofIn(form, link, account);
    if (typeof proof === "string")
      return show(visit, link, account, 400, proof, /^[A-Z2-7]{32}$/.test(form.get("key")) ? form.get("key") : undefined);
    if (!(await users.enrol(link, account, proof, ip))) throw gone();
    sendPage(
      response,
      200,
      messagePage("You are set up", `Sign in as ${account.name} whenever an app asks you to. You can close this page.`),
    );
  };
}

function gone(): PageRefusal {
  return new PageRefusal(
    404,
    "This link is no longer good",
    "It was used, replaced by a newer one, or is too old. Ask the operator for another.",
  );
}
