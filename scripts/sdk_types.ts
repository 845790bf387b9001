/**
 * Writes `sdk/openapi.ts`, the types of the REST API, from the API's own document: `deno task sdk:types`, after every
 * change of a route or a schema. A test compares the file with what this would write.
 *
 * @module
 */
import openapiTS, { astToString } from "openapi-typescript";
import { type AppOptions, createApp } from "../api/app.ts";

/** The generated file. */
export const TYPES_FILE = new URL("../sdk/openapi.ts", import.meta.url);

const HEAD = `/**
 * The types of the REST API. Written by \`deno task sdk:types\` from the API's OpenAPI document: change that, not this.
 *
 * @module
 */
`;

/** The part of an OpenAPI document that is looked at here. */
interface ApiDocument {
  readonly paths: Record<
    string,
    Record<string, { responses?: Record<string, unknown> }>
  >;
}

/** The text of the generated file. */
export async function sdkTypes(): Promise<string> {
  const document = await apiDocument();
  for (
    const operation of Object.values(document.paths).flatMap((path) => Object.values(path))
  ) {
    // Errors are text in every call, and become one error class.
    const kept = Object.entries(operation.responses ?? {}).filter(([status]) => status.startsWith("2"));
    operation.responses = Object.fromEntries(kept);
  }
  const types = await openapiTS(JSON.stringify(document), { immutable: true });
  return await format(HEAD + astToString(types));
}

/** The API's own document. It needs no state: no other call is made. */
async function apiDocument(): Promise<ApiDocument> {
  const app = createApp({ control: {}, status: () => ({ version: "" }) } as AppOptions);
  const answer = await app.request("/proxy/v1/openapi.json");
  if (!answer.ok) throw new Error(`the API answered with ${answer.status}`);
  return await answer.json();
}

async function format(source: string): Promise<string> {
  const config = new URL("../deno.json", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--config", config, "--ext", "ts", "-"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const output = child.output();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(source));
  await writer.close();
  const { success, stdout } = await output;
  if (!success) throw new Error("deno fmt could not format the types");
  return new TextDecoder().decode(stdout);
}

if (import.meta.main) await Deno.writeTextFile(TYPES_FILE, await sdkTypes());
