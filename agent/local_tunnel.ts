/**
 * A tunnel through the running helper, for programs of users who may not read the token.
 *
 * @module
 */
import { messageOf, ProxyError } from "../core/errors.ts";
import { formatHostPort, type HostPort } from "../core/host_port.ts";
import { readHttpHead, readHttpResponse } from "./http.ts";
import { closeQuietly, type Refusal, writeAll } from "./proxy_link.ts";

/**
 * Asks the helper's local proxy for a tunnel.
 *
 * @throws ProxyError `agent.failed` when no helper answers
 */
export async function openLocalTunnel(
  local: HostPort,
  target: HostPort,
): Promise<{ readonly conn: Deno.TcpConn; readonly first: Uint8Array } | { readonly refusal: Refusal }> {
  const where = formatHostPort(target);
  let conn: Deno.TcpConn | undefined;
  try {
    conn = await Deno.connect({ hostname: local.host, port: local.port });
    conn.setNoDelay(true);
    await writeAll(conn, new TextEncoder().encode(`CONNECT ${where} HTTP/1.1\r\nHost: ${where}\r\n\r\n`));
    const { head, rest } = await readHttpHead(conn);
    if (head.startsWith("HTTP/1.1 200 ")) return { conn, first: rest };
    const response = await readHttpResponse(conn, { head, rest });
    closeQuietly(conn);
    return {
      refusal: {
        status: response.status,
        reason: response.field("x-slicer-proxy-reason") ?? "refused",
        text: new TextDecoder().decode(response.body).trim(),
      },
    };
  } catch (cause) {
    closeQuietly(conn);
    throw new ProxyError("agent.failed", `Cannot use the helper of this VM: ${messageOf(cause)}`, {
      cause,
      hint: "slicer-proxy agent status",
    });
  }
}
