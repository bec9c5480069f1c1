import { BridgeProblem } from "./problem.ts";

/** What an HTTP answer that holds no MCP means to the client. */
export function problemOf(response: Response): BridgeProblem {
  const { status } = response;
  if (response.ok) return new BridgeProblem("unavailable", "what answers at this address does not speak MCP");
  if (status >= 300 && status < 400)
    return new BridgeProblem("unavailable", "the broker has moved", {
      fix: "Ask its operator for the new URL, and give that with --server.",
    });
  if (status === 403) return new BridgeProblem("refused", "the broker refuses this call");
  if (status === 404)
    return new BridgeProblem("unavailable", "the broker does not know this session or address any more", { fix: "Start the client anew." });
  if (status === 413) return new BridgeProblem("refused", "this message is too long for the broker");
  if (status === 429) {
    const seconds = /^\d{1,6}$/.exec(response.headers.get("retry-after") ?? "")?.[0];
    return new BridgeProblem("refused", "this was too much at once for the broker", {
      fix: seconds === undefined ? "Try again later." : `Try again in ${seconds} seconds.`,
    });
  }
  return new BridgeProblem(status >= 500 ? "unavailable" : "refused", `the broker answered with HTTP status ${status}`);
}
