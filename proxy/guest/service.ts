/**
 * What the proxy itself answers to the helper inside a VM: name resolution, and its CA certificate. Both are requests in
 * origin-form, which no client of a proxy sends.
 *
 * Not here: DNS (`dns_service.ts`), forwarding.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { writeAll } from "../streams/byte_reader.ts";
import { isDnsRequest, serveDns } from "./dns_service.ts";
import { type Exchange, type Next, wantsClose } from "../exchange.ts";
import { makeField } from "../message/fields.ts";
import { formatResponseHead } from "../http1/head_writer.ts";

/**
 * Answers such a request.
 *
 * @returns undefined for any other request
 * @throws ProxyError as {@linkcode serveDns}
 */
export async function serveGuest(exchange: Exchange): Promise<Next | undefined> {
  if (isDnsRequest(exchange)) return await serveDns(exchange);
  const { head, session } = exchange;
  if (head.method === "GET" && head.target === "/ca.crt" && session.tunnel === undefined) {
    return await serveCa(exchange);
  }
  return undefined;
}

/**
 * The CA certificate. Anyone may have it, in clear too: whoever fetches it compares its hash with one that it was given
 * (`agent install --ca-sha256`), and every TLS handshake shows it anyway.
 */
async function serveCa({ session, head }: Exchange): Promise<Next> {
  const { context, stream } = session;
  const { certPem } = await context.certificates.forProxy();
  const chain = certPem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g) ?? [];
  const body = Buffer.from(chain.slice(1).join(""), "latin1"); // the first is the port's own
  const close = wantsClose(head) || session.state.isStopping;
  const fields: [string, string][] = [
    ["Content-Type", "application/x-pem-file"],
    ["Content-Length", String(body.length)],
    ["Cache-Control", "no-store"],
  ];
  if (close) fields.push(["Connection", "close"]);
  const responseHead = formatResponseHead({
    version: "HTTP/1.1",
    status: 200,
    reason: "OK",
    fields: fields.map(([name, value]) => makeField(name, value)),
  });
  try {
    await writeAll(stream, Buffer.concat([responseHead, body]));
  } catch {
    return "close";
  }
  return close ? "close" : "keep";
}
