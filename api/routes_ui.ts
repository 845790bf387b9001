/**
 * The call that makes a link to the web page.
 *
 * Not here: the page (`ui_page.ts`), which is no part of the API.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { ProxyError } from "../core/errors.ts";
import { common, error, json } from "./responses.ts";
import { rfc3339, UiLinkBody } from "./schemas.ts";
import { flag } from "./schemas_audit.ts";
import type { SessionRights } from "./ui_sessions.ts";

/** Makes a link to a session with these rights. `expiresAt` is in epoch milliseconds. */
export type UiLinks = (rights: SessionRights) => { readonly url: string; readonly expiresAt: number };

const createLink = createRoute({
  method: "post",
  path: "/proxy/v1/ui/links",
  operationId: "createUiLink",
  summary: "Make a link that opens the web page in one browser, once",
  tags: ["ui"],
  request: {
    query: z.strictObject({
      manage: flag.describe("The page may also revoke rules, suspend clients and decide about what waits"),
    }),
  },
  responses: {
    ...common,
    400: error("The query cannot be understood"),
    201: json("The link, which is as good as the token until it is used or has expired", UiLinkBody),
    409: error("The API does not listen on TCP, which a browser needs"),
  },
});

/** Adds the call to an app. Without `links` it says what is missing. */
export function addUiRoutes(app: OpenAPIHono, links: UiLinks | undefined): void {
  app.openapi(createLink, (c) => {
    if (!links) {
      throw new ProxyError(
        "input.conflict",
        "Cannot make a link to the web page: the API listens on its socket only, which no browser can open",
        { hint: "start the proxy with --api-bind 127.0.0.1:9090" },
      );
    }
    const { manage } = c.req.valid("query");
    const { url, expiresAt } = links(manage === "1" || manage === "true" ? "manage" : "usual");
    return c.json({ url, expires_at: rfc3339(expiresAt) }, 201);
  });
}
