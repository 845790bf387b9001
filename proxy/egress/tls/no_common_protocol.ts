/**
 * The failure of a handshake whose sides speak no version of HTTP in common.
 *
 * @module
 */
import { ProxyError } from "../../../core/errors.ts";

/** @returns ProxyError `upstream.tls` */
export function noCommonProtocol(host: string): ProxyError {
  return new ProxyError(
    "upstream.tls",
    `Cannot connect to ${host}: it speaks no version of HTTP that the client offers`,
    { reason: "protocol-mismatch" },
  );
}
