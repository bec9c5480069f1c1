import { mkdirSync } from "node:fs";
import { parseArgs } from "node:util";
import { judge, sayAim } from "./aims.ts";
import { measureCalls } from "./calls-cases.ts";
import { revisions } from "./calls.ts";
import { measureMemory, soak } from "./endurance-cases.ts";
import { measureLog } from "./log-cases.ts";
import { measurePolicy } from "./policy-cases.ts";
import { busyness, createScreen, machine } from "./result.ts";
import { measureStart } from "./start-cases.ts";
import { measureTokenEndpoint, measureTokens } from "./token-cases.ts";

const usage = `npm run bench -- [options]
  --only PATTERN       cases whose name matches, e.g. 'whoami|bare', '\\.c16$', policy, audit, token, verify, stdio, memory
  --seconds N          seconds for each case (3)
  --revision REVISION  of MCP: ${revisions.join(" or ")} (${revisions[0]})
  --profile FOLDER     writes a CPU profile of the broker for each case; its figures are then not to be quoted
  --soak SECONDS       only policy decisions under HTTP load, for that long
  --json               one JSON object for each case`;

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    seconds: { type: "string", default: "3" },
    revision: { type: "string", default: revisions[0] },
    profile: { type: "string" },
    soak: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name}: expected a whole number, 1 or more`);
  return value;
}

const screen = createScreen(values.json);
const revision = revisions.find((one) => one === values.revision);

if (values.help) screen.say(usage);
else if (!revision) throw new Error(`--revision: expected ${revisions.join(" or ")}`);
else if (values.soak !== undefined) await soak(screen, positive("soak", values.soak), revision);
else {
  const pattern = new RegExp(values.only);
  const wanted = (name: string): boolean => pattern.test(name);
  const rounds = positive("seconds", values.seconds);
  screen.say(machine());
  const busy = busyness();
  if (busy !== undefined) screen.say(busy);
  if (values.profile !== undefined) mkdirSync(values.profile, { recursive: true });
  const results = [
    ...(await measureCalls(screen, { rounds, wanted, revision, ...(values.profile === undefined ? {} : { profile: values.profile }) })),
    ...(await measureLog(screen, { rounds, wanted })),
    ...(await measurePolicy(screen, { rounds, wanted })),
    ...(await measureTokenEndpoint(screen, { rounds, wanted })),
    ...(await measureTokens(screen, { rounds, wanted })),
    ...(await measureStart(screen, wanted)),
  ];
  const memory = wanted("memory") ? await measureMemory(screen, revision) : [];
  screen.say("\nAims");
  for (const aim of judge(results, memory)) if (aim.met !== undefined || values.only === "") screen.say(sayAim(aim));
}
