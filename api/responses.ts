/**
 * How the responses of a call are described, so that every route says it in the same words.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";

const ErrorText = z.string().openapi("Error", {
  description: "One line that says what is wrong; a second line `hint: …` may say what to do",
  example: "Cannot create client ci-1: the name is taken\n",
});

/** A response with a JSON body. */
export function json<Schema extends z.ZodType>(description: string, schema: Schema) {
  return { description, content: { "application/json": { schema } } };
}

/** A required JSON request body. */
export function requestJson<Schema extends z.ZodType>(schema: Schema) {
  return { required: true, content: { "application/json": { schema } } };
}

/** An error response. */
export function error(description: string) {
  return { description, content: { "text/plain": { schema: ErrorText } } };
}

/** Responses that every call may give. */
export const common = {
  401: error("Over TCP: the token is missing or wrong"),
  403: error("Over TCP: the request comes from another origin's page"),
  421: error("Over TCP: the Host is none of this API's names"),
  default: error(
    "408 when a body comes too slowly, 500 for a failure inside, 503 when too many calls are under way",
  ),
};

/** Responses that every call with a JSON body may give. */
export const commonWithBody = {
  ...common,
  413: error("The body is longer than 1 MiB"),
  415: error("The content type is not application/json"),
};

/** The response of every call that writes, when it cannot. */
export const notStored = error("The disk is full or not writable, or a limit of the store is reached");
