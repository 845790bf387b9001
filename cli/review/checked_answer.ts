/**
 * Answers of the API whose shape is too deep to be read field by field.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import { ProxyError } from "../../core/errors.ts";

/**
 * The answer as its schema says.
 *
 * @throws ProxyError `api.refused`
 */
export function checkedAnswer<Schema extends z.ZodType>(schema: Schema, answer: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new ProxyError("api.refused", "Cannot read the proxy's answer: it is not what this version expects", {
    cause: parsed.error,
    hint: "is the proxy of another version? slicer-proxy status says which",
  });
}
