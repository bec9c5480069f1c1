import type { Annotations, Effect } from "@cedar-policy/cedar-wasm/nodejs";

import type { Obligations } from "../core/decision.ts";
import { parseDuration } from "./duration.ts";

const known = ["id", "description", "max_ttl", "one_time", "notify"] as const;
const obliging = ["max_ttl", "one_time", "notify"] as const;
const idForm = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$/;
const channelForm = /^[A-Za-z0-9#@][A-Za-z0-9._:@/-]{0,127}$/;

export interface Read {
  readonly id: string | undefined;
  readonly obligations: Obligations;
  readonly problems: readonly string[];
}

/** What the annotations of a policy say. An annotation that we do not know would be a limit that nobody applies, so it is refused. */
export function readAnnotations(effect: Effect, annotations: Annotations): Read {
  const problems: string[] = [];
  for (const name of Object.keys(annotations)) {
    if (!known.some((one) => one === name))
      problems.push(`@${name} means nothing here; known are ${known.map((one) => `@${one}`).join(", ")}`);
  }
  if (effect === "forbid") {
    for (const name of obliging)
      if (name in annotations) problems.push(`@${name} limits what a permit grants; on a forbid it does nothing`);
  }
  return { id: readId(annotations, problems), obligations: readObligations(annotations, problems), problems };
}

function readId(annotations: Annotations, problems: string[]): string | undefined {
  const id = annotations["id"];
  if (id !== undefined && idForm.test(id ?? "")) return id;
  problems.push(
    id === undefined
      ? 'every policy needs an @id("…"), which the audit log names when it decides'
      : "an @id is 1 to 128 letters, digits and . _ : / - and starts with a letter or digit",
  );
  return undefined;
}

function readObligations(annotations: Annotations, problems: string[]): Obligations {
  const { max_ttl: maxTtl, one_time: oneTime, notify } = annotations;
  const seconds = maxTtl === undefined ? undefined : parseDuration(maxTtl ?? "");
  if (maxTtl !== undefined && seconds === undefined) problems.push(`@max_ttl(${quote(maxTtl)}) is no duration; write 30s, 15m or 8h`);

  if (oneTime !== undefined && oneTime !== "true" && oneTime !== "false") problems.push('@one_time is "true" or "false"');

  const channels = notify === undefined ? undefined : (notify ?? "").split(",").map((channel) => channel.trim());
  if (channels && !channels.every((channel) => channelForm.test(channel)))
    problems.push(`@notify(${quote(notify)}) names no channel; write @notify("security")`);

  return {
    ...(seconds === undefined ? {} : { maxTtl: seconds }),
    ...(oneTime === "true" ? { oneTime: true } : {}),
    ...(channels ? { notify: channels } : {}),
  };
}

function quote(value: string | null | undefined): string {
  return value === null || value === undefined ? "" : JSON.stringify(value);
}
