/**
 * A connect from a chosen local address. `Deno.connect` has no such option, on 2.7 and 2.9 alike; `node:net` binds before it
 * connects on both. What it costs: a stream of Node's in the place of a connection of the runtime, and where TLS goes over
 * it a hop over loopback (`line.ts`).
 *
 * @module
 */
import { NodeStream } from "../../streams/node_stream.ts";

/** Errors of the system by their code, as the runtime's own connect throws them. */
const ERRORS: Readonly<Record<string, new (message: string) => Error>> = {
  ECONNREFUSED: Deno.errors.ConnectionRefused,
  ETIMEDOUT: Deno.errors.TimedOut,
};

/**
 * Connects to an address from another.
 *
 * @throws what `Deno.connect` throws, or the signal's reason
 */
export async function connectFrom(
  source: string,
  { hostname, port, signal }: {
    readonly hostname: string;
    readonly port: number;
    readonly signal: AbortSignal;
  },
): Promise<NodeStream> {
  const { connect } = await import("node:net");
  signal.throwIfAborted();
  const socket = connect({ host: hostname, port, localAddress: source, noDelay: true, allowHalfOpen: true });
  const stream = new NodeStream(socket);
  const cut = () => stream.close();
  signal.addEventListener("abort", cut);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("closed in the connect")));
    });
    return stream;
  } catch (error) {
    stream.close();
    if (signal.aborted) throw signal.reason;
    const { code, message } = error as { readonly code?: string; readonly message: string };
    const Known = ERRORS[code ?? ""];
    throw Known ? new Known(message) : error;
  } finally {
    signal.removeEventListener("abort", cut);
  }
}
