import type { Prompt, PromptMessage, Server, ServerContext } from "@modelcontextprotocol/server";
import { inputRequired, inputResponse, INVALID_PARAMS, ProtocolError, ResourceNotFoundError } from "@modelcontextprotocol/server";
import { requestState } from "./asking-tools.ts";
import { png } from "./content.ts";
import type { ServerDefinition } from "../../src/mcp/definition.ts";

const resources = [
  { uri: "test://static-text", name: "Static text", description: "A text", mimeType: "text/plain" },
  { uri: "test://static-binary", name: "Static binary", description: "A picture", mimeType: "image/png" },
  { uri: "test://watched-resource", name: "Watched", description: "For subscriptions", mimeType: "text/plain" },
];

const prompts: readonly Prompt[] = [
  { name: "test_simple_prompt", description: "Without arguments" },
  { name: "test_prompt_with_arguments", description: "With two", arguments: ["arg1", "arg2"].map(required) },
  { name: "test_prompt_with_embedded_resource", description: "With a resource", arguments: [required("resourceUri")] },
  { name: "test_prompt_with_image", description: "With a picture" },
  { name: "test_input_required_result_prompt", description: "Asks back" },
];

function required(name: string) {
  return { name, description: name, required: true };
}

/** Everything that the suite wants beside tools. */
export const extras: NonNullable<ServerDefinition<unknown>["extras"]> = {
  capabilities: { prompts: {}, resources: { subscribe: true }, completions: {}, logging: {} },
  options: { requestState: { verify: (state, context) => requestState.verify(state, context) } },

  install(server: Server) {
    server.setRequestHandler("resources/list", () => ({ resources }));
    server.setRequestHandler("resources/templates/list", () => ({
      resourceTemplates: [{ uriTemplate: "test://template/{id}/data", name: "Template", mimeType: "application/json" }],
    }));
    server.setRequestHandler("resources/read", ({ params }) => ({ contents: [read(params.uri)] }));
    server.setRequestHandler("resources/subscribe", () => ({}));
    server.setRequestHandler("resources/unsubscribe", () => ({}));
    server.setRequestHandler("prompts/list", () => ({ prompts: [...prompts] }));
    server.setRequestHandler("prompts/get", ({ params }, context) => prompt(params.name, params.arguments ?? {}, context));
    server.setRequestHandler("completion/complete", ({ params }) => {
      const values = ["paris", "park", "party"].filter((value) => value.startsWith(params.argument.value));
      return { completion: { values, total: values.length, hasMore: false } };
    });
  },
};

function read(uri: string) {
  const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
  if (id !== undefined)
    return { uri, mimeType: "application/json", text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }) };
  if (uri === "test://static-binary") return { uri, mimeType: "image/png", blob: png };
  if (uri === "test://static-text") return { uri, mimeType: "text/plain", text: "This is the content of the static text resource." };
  if (uri === "test://watched-resource") return { uri, mimeType: "text/plain", text: "Nothing happened yet." };
  throw new ResourceNotFoundError(uri);
}

function prompt(name: string, input: Readonly<Record<string, string>>, { mcpReq }: ServerContext) {
  const said = (text: string): PromptMessage => ({ role: "user", content: { type: "text", text } });
  switch (name) {
    case "test_simple_prompt":
      return { messages: [said("This is a simple prompt for testing.")] };
    case "test_prompt_with_arguments":
      return { messages: [said(`Prompt with arguments: arg1='${input["arg1"]}', arg2='${input["arg2"]}'`)] };
    case "test_prompt_with_embedded_resource": {
      const resource = { uri: input["resourceUri"] ?? "", mimeType: "text/plain", text: "Embedded resource content for testing." };
      const embedded: PromptMessage = { role: "user", content: { type: "resource", resource } };
      return { messages: [embedded, said("Please process the embedded resource above.")] };
    }
    case "test_prompt_with_image": {
      const picture: PromptMessage = { role: "user", content: { type: "image", data: png, mimeType: "image/png" } };
      return { messages: [picture, said("Please analyze the image above.")] };
    }
    case "test_input_required_result_prompt": {
      const answer = inputResponse(mcpReq.inputResponses, "user_context");
      if (answer.kind === "elicit" && answer.content) return { messages: [said(`Context: ${JSON.stringify(answer.content)}`)] };
      const properties = { context: { type: "string" as const } };
      const requestedSchema = { type: "object" as const, properties, required: ["context"] };
      const ask = inputRequired.elicit({ message: "What context should the prompt use?", requestedSchema });
      return inputRequired({ inputRequests: { user_context: ask } });
    }
    default:
      throw new ProtocolError(INVALID_PARAMS, "Unknown prompt");
  }
}
