/**
 * The calls about CAs of host groups. A private key comes in with one of them, and goes out with none.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { ProxyError } from "../core/errors.ts";
import type { CaDesk, CaReport } from "./control.ts";
import { jsonBody } from "./json_body.ts";
import { common, commonWithBody, error, json, notStored, requestJson } from "./responses.ts";

/** Of a file that holds a CA's certificate with its chain, or its key; longer ones are no PEM of a CA (`ca/authority_files.ts`). */
const MAX_PEM_CHARS = 65_536;

const hostgroup = z.string().min(1).max(64).openapi({ example: "sbox" });
const time = z.string().openapi({ format: "date-time" });

const CaBody = z.strictObject({
  hostgroup,
  from: z.enum(["file", "store"]).openapi({
    description:
      "`store`: it is in the store, for every host that uses that; `file`: it is this host's alone",
  }),
  path: z.string().optional().openapi({ description: "Where its certificate is, when it is in a file" }),
  subject: z.string(),
  fingerprint: z.string().openapi({ description: "SHA-256 of the certificate, as OpenSSL prints it" }),
  serial: z.string(),
  not_before: time,
  not_after: time,
  key_type: z.string().openapi({ example: "EC P-256" }),
  imported_at: time.optional(),
  renewed_at: time.optional(),
  certificate: z.string().openapi({ description: "PEM: what VMs have to trust" }),
}).openapi("Ca");

const ImportBody = z.strictObject({
  hostgroup: hostgroup.optional().openapi({ description: "The proxy's own when left out" }),
  certificate: z.string().min(1).max(MAX_PEM_CHARS).openapi({
    description: "PEM, the CA's own certificate first; others of its chain may follow",
  }),
  private_key: z.string().min(1).max(MAX_PEM_CHARS).openapi({
    description: "PEM, not encrypted. It is kept sealed, and no call returns it",
  }),
  replace: z.boolean().optional().openapi({
    description:
      "It may take the place of a CA with another key (VMs trust no host until they have the new one), or of a newer " +
      "certificate for the same key",
  }),
}).openapi("ImportCa");

const ImportedBody = CaBody.extend({
  replaced_fingerprint: z.string().optional().openapi({
    description: "That of the CA with another key whose place it has taken",
  }),
}).openapi("ImportedCa");

const show = createRoute({
  method: "get",
  path: "/proxy/v1/ca",
  operationId: "getCa",
  summary: "Which CA signs for a host group, and where it is kept",
  tags: ["CA"],
  request: { query: z.strictObject({ hostgroup: hostgroup.optional() }) },
  responses: {
    ...common,
    200: json("The CA, without its key", CaBody),
    400: error("The name is none, or a parameter is unknown"),
    404: error("The store has none for that host group, and it is not the proxy's own"),
  },
});

const importCa = createRoute({
  method: "post",
  path: "/proxy/v1/ca",
  operationId: "importCa",
  summary: "Take the CA of a host group into the store: every host that uses it signs by that one at once",
  tags: ["CA"],
  middleware: jsonBody,
  request: { body: requestJson(ImportBody) },
  responses: {
    ...commonWithBody,
    200: json("It is in the store, on the disk too", ImportedBody),
    400: error("The two are not the certificate and the key of a CA, or it is not valid now"),
    409: error("There is a CA with another key, or a newer certificate, and no `replace`"),
    507: notStored,
  },
});

/** There is none to be shown, nor a place for one. */
export const NO_CAS: CaDesk = {
  show: () => Promise.reject(new ProxyError("input.not-found", "Cannot show a CA: there is none")),
  import: () => Promise.reject(new ProxyError("input.not-found", "Cannot import a CA: there is no store")),
};

/** Adds the calls to an app. */
export function addCaRoutes(app: OpenAPIHono, desk: CaDesk): void {
  app.openapi(show, async (c) => c.json(caBody(await desk.show(c.req.valid("query").hostgroup)), 200));
  app.openapi(importCa, async (c) => {
    const { hostgroup, certificate, private_key, replace = false } = c.req.valid("json");
    const { ca, replaced } = await desk.import({
      hostgroup,
      certPem: certificate,
      keyPem: private_key,
      replace,
    });
    return c.json(
      { ...caBody(ca), ...(replaced === undefined ? {} : { replaced_fingerprint: replaced }) },
      200,
    );
  });
}

function caBody(ca: CaReport) {
  const { importedAt, renewedAt } = ca;
  return {
    hostgroup: ca.hostgroup,
    from: ca.from,
    ...(ca.path === undefined ? {} : { path: ca.path }),
    subject: ca.subject,
    fingerprint: ca.fingerprint,
    serial: ca.serial,
    not_before: ca.notBefore,
    not_after: ca.notAfter,
    key_type: ca.keyType,
    ...(importedAt === undefined ? {} : { imported_at: new Date(importedAt).toISOString() }),
    ...(renewedAt === undefined ? {} : { renewed_at: new Date(renewedAt).toISOString() }),
    certificate: ca.certPem,
  };
}
