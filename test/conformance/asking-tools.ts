import type { ElicitRequestFormParams, InputResponseView, ServerContext } from "@modelcontextprotocol/server";
import {
  CLIENT_CAPABILITIES_META_KEY,
  createRequestStateCodec,
  inputRequired,
  inputResponse,
  MissingRequiredClientCapabilityError,
} from "@modelcontextprotocol/server";
import { text } from "./content.ts";
import type { Fixture } from "./tools.ts";

export const requestState = createRequestStateCodec<string>({ key: "conformance fixture, no secret at all" });

type Properties = ElicitRequestFormParams["requestedSchema"]["properties"];

function form(message: string, properties: Properties, required = Object.keys(properties)): ElicitRequestFormParams {
  return { message, requestedSchema: { type: "object", properties, required } };
}

function sampling(prompt: string, maxTokens: number) {
  return { messages: [{ role: "user" as const, content: { type: "text" as const, text: prompt } }], maxTokens };
}

function answers(context: ServerContext, key: string): InputResponseView {
  return inputResponse(context.mcpReq.inputResponses, key);
}

/** What was typed into the form, once it was accepted with that field filled in. */
function filled(context: ServerContext, key: string, field: string): string | boolean | undefined {
  const answer = answers(context, key);
  const value = answer.kind === "elicit" && answer.action === "accept" ? answer.content?.[field] : undefined;
  return typeof value === "string" || typeof value === "boolean" ? value : undefined;
}

const nameForm = form("What is your name?", { name: { type: "string" } });

/** Revisions up to 2025-11-25: the server sends a request of its own and waits. */
const overTheChannel: Readonly<Record<string, Fixture>> = {
  test_sampling: {
    inputSchema: { type: "object", properties: { prompt: { type: "string" } }, required: ["prompt"] },
    async run({ prompt }, { mcpReq }) {
      const { content } = await mcpReq.requestSampling(sampling(String(prompt), 100), { relatedRequestId: mcpReq.id });
      return text(`LLM response: ${JSON.stringify(content)}`);
    },
  },
  test_elicitation: {
    inputSchema: { type: "object", properties: { message: { type: "string" } }, required: ["message"] },
    run: ({ message }, context) =>
      elicit(
        context,
        "User response",
        form(String(message), {
          username: { type: "string", description: "User's response" },
          email: { type: "string", description: "User's email address" },
        }),
      ),
  },
  test_elicitation_sep1034_defaults: {
    run: (_input, context) =>
      elicit(
        context,
        "Elicitation completed",
        form(
          "Defaults of every kind",
          {
            name: { type: "string", default: "John Doe" },
            age: { type: "integer", default: 30 },
            score: { type: "number", default: 95.5 },
            status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
            verified: { type: "boolean", default: true },
          },
          [],
        ),
      ),
  },
  test_elicitation_sep1330_enums: {
    run: (_input, context) => {
      const options = ["option1", "option2", "option3"];
      const titled = [1, 2, 3].map((n) => ({ const: `value${n}`, title: `Option ${n}` }));
      return elicit(
        context,
        "Elicitation completed",
        form(
          "Enums of every kind",
          {
            untitledSingle: { type: "string", enum: options },
            titledSingle: { type: "string", oneOf: titled },
            legacyEnum: { type: "string", enum: ["opt1", "opt2", "opt3"], enumNames: ["Option One", "Option Two", "Option Three"] },
            untitledMulti: { type: "array", items: { type: "string", enum: options } },
            titledMulti: { type: "array", items: { anyOf: titled } },
          },
          [],
        ),
      );
    },
  },
};

async function elicit({ mcpReq }: ServerContext, heading: string, params: ElicitRequestFormParams) {
  // On the stream of the call that asks: the session's own stream may not be open yet, and what is sent there then is lost.
  const { action, content } = await mcpReq.elicitInput(params, { relatedRequestId: mcpReq.id });
  return text(`${heading}: action=${action}, content=${JSON.stringify(content ?? {})}`);
}

/** Revision 2026-07-28: the answer says what is missing, and the client asks again with it. */
const overSeveralRounds: Readonly<Record<string, Fixture>> = {
  test_input_required_result_elicitation: {
    async run(_input, context) {
      const name = filled(context, "user_name", "name");
      if (typeof name === "string") return text(`Hello, ${name}!`);
      return inputRequired({ inputRequests: { user_name: inputRequired.elicit(nameForm) } });
    },
  },
  test_input_required_result_sampling: {
    async run(_input, context) {
      const answer = answers(context, "capital_question");
      if (answer.kind === "sampling") return text(JSON.stringify(answer.result.content));
      return inputRequired({
        inputRequests: { capital_question: inputRequired.createMessage(sampling("What is the capital of France?", 100)) },
      });
    },
  },
  test_input_required_result_list_roots: {
    async run(_input, context) {
      const answer = answers(context, "client_roots");
      if (answer.kind === "roots") return text(answer.roots.map((root) => root.uri).join("\n"));
      return inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
    },
  },
  test_input_required_result_request_state: { run: (_input, context) => confirmed(context) },
  test_input_required_result_tampered_state: { run: (_input, context) => confirmed(context) },
  test_input_required_result_multiple_inputs: {
    async run(_input, context) {
      const kinds = ["user_name", "greeting", "client_roots"].map((key) => answers(context, key).kind);
      if (kinds.join() === "elicit,sampling,roots" && context.mcpReq.requestState() === "multiple") return text("all inputs received");
      return inputRequired({
        inputRequests: {
          user_name: inputRequired.elicit(nameForm),
          greeting: inputRequired.createMessage(sampling("Generate a greeting", 50)),
          client_roots: inputRequired.listRoots(),
        },
        requestState: await requestState.mint("multiple"),
      });
    },
  },
  test_input_required_result_multi_round: {
    async run(_input, context) {
      const state = context.mcpReq.requestState();
      const color = filled(context, "step2", "color");
      if (typeof state === "string" && state.startsWith("2:") && color !== undefined)
        return text(`${state.slice(2)} likes ${String(color)}`);
      const name = filled(context, "step1", "name");
      if (state === "1" && name !== undefined)
        return inputRequired({
          inputRequests: { step2: inputRequired.elicit(form("Step 2: What is your favorite color?", { color: { type: "string" } })) },
          requestState: await requestState.mint(`2:${String(name)}`),
        });
      return inputRequired({
        inputRequests: { step1: inputRequired.elicit(form("Step 1: What is your name?", { name: { type: "string" } })) },
        requestState: await requestState.mint("1"),
      });
    },
  },
  test_input_required_result_capabilities: {
    async run(_input, context) {
      const declared = capabilitiesOf(context);
      return inputRequired({
        inputRequests: {
          ...(declared.has("elicitation") ? { name: inputRequired.elicit(nameForm) } : {}),
          ...(declared.has("sampling") ? { text: inputRequired.createMessage(sampling("Say something", 50)) } : {}),
        },
      });
    },
  },
  test_missing_capability: {
    async run(_input, context) {
      if (!capabilitiesOf(context).has("sampling"))
        throw new MissingRequiredClientCapabilityError({ requiredCapabilities: { sampling: {} } });
      return text("The client can sample.");
    },
  },
  test_streaming_elicitation: {
    async run(_input, context) {
      if (filled(context, "user_name", "name") !== undefined) return text("done");
      return inputRequired({ inputRequests: { user_name: inputRequired.elicit(nameForm) } });
    },
  },
};

async function confirmed(context: ServerContext) {
  if (context.mcpReq.requestState() === "confirmed" && filled(context, "confirm", "ok") !== undefined) return text("state-ok");
  return inputRequired({
    inputRequests: { confirm: inputRequired.elicit(form("Please confirm", { ok: { type: "boolean" } })) },
    requestState: await requestState.mint("confirmed"),
  });
}

function capabilitiesOf({ mcpReq }: ServerContext) {
  const envelope: Readonly<Record<string, unknown>> = { ...mcpReq.envelope };
  const declared = envelope[CLIENT_CAPABILITIES_META_KEY];
  return new Set(typeof declared === "object" && declared !== null ? Object.keys(declared) : []);
}

export const askingTools = { ...overTheChannel, ...overSeveralRounds };
