/**
 * Waits for a client's ClientHello. What is in it is read by `core/client_hello.ts`.
 *
 * @module
 */
import { type ClientHello, isTlsRecord, parseClientHello } from "../../core/client_hello.ts";
import { ProxyError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import type { ByteReader } from "./byte_reader.ts";

export { isTlsRecord };

/**
 * Waits for the whole ClientHello and reads it; all its bytes stay in the reader.
 *
 * @throws ProxyError `client.malformed` with reason `tls-no-client-hello`, or `client.closed`
 */
export async function peekClientHello(
  reader: ByteReader,
  limits: Pick<Limits, "maxClientHelloBytes">,
): Promise<ClientHello> {
  for (;;) {
    const hello = parseClientHello(reader.available);
    if (hello) return hello;
    if (reader.size > limits.maxClientHelloBytes) throw noClientHello("it is too large");
    if (!await reader.fill()) {
      throw new ProxyError("client.closed", "Cannot read the ClientHello: the connection ended inside it", {
        reason: "tls-no-client-hello",
      });
    }
  }
}

function noClientHello(what: string): ProxyError {
  return new ProxyError("client.malformed", `Cannot read the ClientHello: ${what}`, {
    reason: "tls-no-client-hello",
  });
}
