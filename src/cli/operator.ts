import { userInfo } from "node:os";
import type { Actor } from "../core/event.ts";

/** Who is at the command line, for the audit log: the account of the process, which nobody chose for themselves. */
export function operatorName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? "unknown"}`;
  }
}

export function operatorActor(): Actor {
  return { type: "operator", name: operatorName() };
}
