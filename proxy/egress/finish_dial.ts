/**
 * The last part of a dial: on a way to the upstream that is open, what its scheme wants.
 *
 * Not here: opening the way (`connect/connector.ts`, `parents/parent_way.ts`).
 *
 * @module
 */
import type { Deadlines } from "../../core/deadlines.ts";
import type { HostPort } from "../../core/host_port.ts";
import type { Limits } from "../../core/limits.ts";
import type { ClientCertificate } from "../../secrets/credential.ts";
import { ByteReader, closeQuietly } from "../streams/byte_reader.ts";
import { SocketStream } from "../streams/socket_stream.ts";
import { dialWithCertificate } from "./tls/certificate_dial.ts";
import { asTcp, type Line, LoopbackDoor } from "./connect/line.ts";
import { parentError } from "./parents/parent_error.ts";
import type { ReachedParent } from "./parents/parent_hop.ts";
import { BegunStream, RelayedStream } from "./connect/relayed_stream.ts";
import type { Alpn, UpstreamConnection } from "./upstream_connection.ts";
import { startUpstreamTls } from "./tls/upstream_tls.ts";

/** An open way to an upstream. */
export interface Opened {
  readonly line: Line;
  /** The address that was dialled, when it was dialled from here. */
  readonly address?: string;
  /** What has come on it already. */
  readonly first?: Uint8Array;
  /** The parent that wants requests in absolute form. */
  readonly parent?: ReachedParent;
}

/** What is to be spoken, with whom. */
export interface Finish extends HostPort {
  readonly scheme: "http" | "https" | "tcp";
  readonly alpn?: readonly Alpn[];
  readonly clientCertificate?: ClientCertificate | undefined;
  readonly limits: Limits;
  readonly deadlines: Deadlines;
  readonly caCertsFor: (host: string) => readonly string[];
}

const NOTHING = new Uint8Array(0);

/**
 * Finishes a dial. Owns the line from here on.
 *
 * @throws ProxyError `upstream.*`, or the signal's reason; the line is closed then
 */
export async function finishDial(
  opened: Opened,
  finish: Finish,
  signal: AbortSignal,
): Promise<UpstreamConnection> {
  const { line, first = NOTHING, parent } = opened;
  const { scheme, host, alpn: [preferred = "http/1.1"] = [], clientCertificate } = finish;
  // Who speaks HTTP/1 or TLS does not speak first.
  if (first.length > 0 && (scheme === "https" || (scheme === "http" && preferred === "http/1.1"))) {
    closeQuietly(line.stream);
    throw parentError(host, "parent-malformed", { words: "it sent more than its answer to CONNECT" });
  }
  if (clientCertificate) return await showCertificate(opened, { ...finish, clientCertificate }, signal);
  if (scheme === "https") return await startTls(line, finish, signal);
  const stream = first.length > 0 ? new BegunStream(line.stream, first) : line.stream;
  const connection = {
    ...{ stream, reader: new ByteReader(stream), isReused: false, protocol: preferred },
    dialledAt: performance.now(),
  };
  return parent ? { ...connection, parent } : connection;
}

async function startTls(line: Line, finish: Finish, signal: AbortSignal): Promise<UpstreamConnection> {
  const { tcp, end } = await asTcp(line, finish, signal);
  const dialledAt = performance.now(); // before any certificate is looked at
  try {
    const { conn, protocol } = await startUpstreamTls(tcp, finish, signal);
    const stream = line.tcp ? new SocketStream(conn) : new RelayedStream(new SocketStream(conn), end);
    return { stream, reader: new ByteReader(stream), isReused: false, dialledAt, protocol };
  } catch (error) {
    end();
    throw error;
  }
}

/** `node:tls` dials itself: the address that has just answered, or the line by way of loopback. */
async function showCertificate(
  { line, address }: Opened,
  finish: Finish & { readonly clientCertificate: ClientCertificate },
  signal: AbortSignal,
): Promise<UpstreamConnection> {
  const { clientCertificate: certificate, port } = finish;
  if (address !== undefined && line.tcp) {
    closeQuietly(line.stream);
    return await dialWithCertificate(finish, { address, port, certificate, signal });
  }
  let end = () => closeQuietly(line.stream);
  let door: LoopbackDoor | undefined;
  try {
    const opened = door = new LoopbackDoor();
    const connection = await dialWithCertificate(finish, {
      ...{ address: "127.0.0.1", port: opened.port, certificate, signal },
      onConnect: (local) => {
        opened.join(line.stream, local, finish).then((joined) => end = joined, end);
      },
    });
    return { ...connection, stream: new RelayedStream(connection.stream, () => end()) };
  } catch (error) {
    end();
    throw error;
  } finally {
    door?.close();
  }
}
