import type { Challenge } from "./challenge.ts";
import type { Credential } from "./exchange.ts";

/** How the bridge is someone at the broker. */
export interface Access {
  /** What to send along: renewed when it is about to run out; `undefined` while nobody has signed in. Never asks a person. */
  current(): Promise<Credential | undefined>;
  /** After a 401. `refused` is what was sent. Asks the person where nothing else helps. */
  renew(refused: Credential | undefined, challenge: Challenge): Promise<Credential>;
  /** After a 403 that wants more scopes: all that is held, and these. */
  widen(challenge: Challenge): Promise<Credential>;
}
