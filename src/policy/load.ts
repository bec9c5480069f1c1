import { SetupError } from "../core/setup-error.ts";
import type { AuthorizerParts, PolicyAuthorizer } from "./cedar.ts";
import { createAuthorizer } from "./cedar.ts";
import { loadBundle } from "./directory.ts";

/** The policies of a directory, in force. Throws `SetupError` with the first problem, and says how to see all of them. */
export async function loadPolicies(directory: string, onError: NonNullable<AuthorizerParts["onError"]>): Promise<PolicyAuthorizer> {
  const loaded = await loadBundle(directory);
  if (loaded.ok) return createAuthorizer({ bundle: loaded.bundle, onError });
  const [first, ...others] = loaded.problems;
  const more = others.length > 0 ? ` (and ${others.length} more)` : "";
  throw new SetupError({
    ...(first ? { file: first.file, line: first.line } : {}),
    what: `${first?.problem ?? "the policies cannot be read"}${more}`,
    fix: "Mend it; `leasehold policy check` shows everything that is wrong.",
  });
}
