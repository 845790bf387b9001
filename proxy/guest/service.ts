/**
 * What the proxy itself answers to the helper inside a VM: name resolution, and its CA certificate; and to programs that ask for a rule. All are requests in
 * origin-form, which no client of a proxy sends.
 *
 * Not here: DNS (`dns_service.ts`), forwarding.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { isDnsRequest, serveDns } from "./dns_service.ts";
import { isRuleRequest, serveRuleRequest } from "./rule_request.ts";
import type { Exchange } from "../exchange.ts";
import { makeField } from "../message/fields.ts";

/**
 * Answers such a request.
 *
 * @returns false for any other request
 * @throws ProxyError as {@linkcode serveDns}
 */
export async function serveGuest(exchange: Exchange): Promise<boolean> {
  const { request: { head }, session } = exchange;
  if (isDnsRequest(exchange)) await serveDns(exchange);
  else if (isRuleRequest(exchange)) await serveRuleRequest(exchange);
  else if (head.method === "GET" && head.target === "/ca.crt" && session.tunnel === undefined) {
    await serveCa(exchange);
  } else return false;
  return true;
}

/**
 * The CA certificate. Anyone may have it, in clear too: whoever fetches it compares its hash with one that it was given
 * (`agent install --ca-sha256`), and every TLS handshake shows it anyway.
 */
async function serveCa({ session, request }: Exchange): Promise<void> {
  const body = Buffer.from(await session.context.certificates.forTrust(), "latin1");
  await request.answer({
    status: 200,
    phrase: "OK",
    fields: [
      makeField("Content-Type", "application/x-pem-file"),
      makeField("Content-Length", String(body.length)),
      makeField("Cache-Control", "no-store"),
    ],
    body,
  });
}
