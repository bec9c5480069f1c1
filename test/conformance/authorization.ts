import { freePort } from "../flows/documents.ts";
import { serveOAuthHouse } from "../flows/oauth-house.ts";
import type { Outcome } from "./suite.ts";
import { runSuite } from "./suite.ts";

/** The suite's scenarios for authorization servers, all of them, against the whole broker: the suite prints a URL, and somebody signs in there. */
export async function conformAuthorization(): Promise<Outcome> {
  const port = await freePort();
  const house = await serveOAuthHouse({ agents: `  conformance: { redirectUris: ["http://127.0.0.1/callback"] }` });
  try {
    const ada = await house.person();
    const given = new AbortController();
    let shown = "nobody was asked to sign in";
    const { passed, output } = await runSuite(
      ["authorization", "--url", house.url, "--client-id", "conformance", "--resource", house.mcp, "--port", String(port)],
      {
        signal: given.signal,
        said(line) {
          if (!line.startsWith(`${house.url}/oauth/authorize?`)) return;
          void ada.deliver(line.trim()).then(
            (page) => (shown = page),
            (problem: unknown) => {
              shown = String(problem);
              given.abort();
            },
          );
        },
      },
    );
    const complete = scenariosOf(output).every((name) => new RegExp(`✓ ${name}: [1-9]\\d* passed, 0 failed$`, "m").test(output));
    return { passed: passed && complete && shown.startsWith("OK."), output: `${output}\n${shown}\n` };
  } finally {
    await house.close();
  }
}

/** A scenario that was skipped, or had nothing to look at, is not one that has passed; none at all is no success. */
function scenariosOf(output: string): readonly string[] {
  const names = [...output.matchAll(/^=== Running scenario: (\S+) ===$/gm)].map(([, name = ""]) => name);
  return names.length > 0 ? names : ["any"];
}
