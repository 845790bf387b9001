/**
 * Passing a WebSocket on to slicerd, message by message: slicerd answers the handshake before the caller is answered, so that
 * its refusal and its sub-protocol are the caller's.
 *
 * What slicerd sends is read only as fast as the caller takes it. The other way the runtime cannot hold a caller back, so
 * what waits for slicerd is bounded, and a caller that sends far too fast is cut off.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ProxyError } from "../core/errors.ts";
import { refuse } from "./errors.ts";
import { formatFrame, type Frame, OPCODE, readFrame } from "./websocket_frames.ts";

/** Where slicerd listens. */
export type SlicerdPlace =
  | { readonly kind: "unix"; readonly path: string; readonly label: string }
  | { readonly kind: "http"; readonly base: URL; readonly label: string };

/** See each field. */
export interface PassOptions {
  readonly place: SlicerdPlace;
  /** Path and query. */
  readonly target: string;
  /** What goes on, less what the handshake needs. */
  readonly headers: Headers;
  /** Ends the relay. */
  readonly signal: AbortSignal;
}

/** A message, in one frame or in many. */
const MAX_MESSAGE_BYTES = 16 * 1_048_576;
/** What may wait for the caller before no more is read from slicerd. */
const MAX_WAITING_BYTES = 1_048_576;
/** What may wait for slicerd: a file that is pasted, and not all that a caller can send. */
const MAX_QUEUED_BYTES = 16 * 1_048_576;
const MAX_HEAD_BYTES = 65_536;
const HANDSHAKE_MS = 30_000;
/** The runtime tells nobody when it has sent what waited: it is looked at again after this. */
const LOOK_AGAIN_MS = 5;

type Conn = Deno.Conn<Deno.NetAddr | Deno.UnixAddr>;

/**
 * Answers the caller's handshake with slicerd's answer.
 *
 * @throws ProxyError `upstream.malformed`, `upstream.timeout`; and what dialling slicerd throws
 */
export async function passWebSocket(request: Request, options: PassOptions): Promise<Response> {
  const conn = await dial(options);
  try {
    const reader = new ConnReader(conn);
    const key = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))));
    const timer = setTimeout(() => closeQuietly(conn), HANDSHAKE_MS);
    let head: Head;
    try {
      await writeAll(conn, new TextEncoder().encode(handshake(request, options, key)));
      head = parseHead(await reader.head());
    } finally {
      clearTimeout(timer);
    }
    if (head.status !== 101) return refused(head, conn);
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    if (head.fields.get("sec-websocket-accept") !== accept) {
      throw new ProxyError(
        "upstream.malformed",
        "Cannot pass this WebSocket on: slicerd's handshake is not its answer",
      );
    }
    const protocol = head.fields.get("sec-websocket-protocol");
    const { socket, response } = Deno.upgradeWebSocket(request, protocol === null ? {} : { protocol });
    relay(socket, conn, { reader, signal: options.signal });
    return response;
  } catch (error) {
    closeQuietly(conn);
    throw error;
  }
}

async function dial({ place, signal }: PassOptions): Promise<Conn> {
  if (place.kind === "unix") return await Deno.connect({ transport: "unix", path: place.path });
  const { protocol, hostname, port } = place.base;
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  if (protocol === "http:") return await Deno.connect({ hostname: host, port: Number(port || "80"), signal });
  return await Deno.connectTls({ hostname: host, port: Number(port || "443") });
}

/** The fields are those that a `Headers` has checked: no line can be forged with them. */
function handshake(request: Request, { place, target, headers }: PassOptions, key: string): string {
  const own = new Headers(headers);
  // Extensions change what frames are, and those of the two sides are not the same.
  for (const name of ["sec-websocket-key", "sec-websocket-extensions", "accept-encoding"]) own.delete(name);
  own.set("sec-websocket-key", key);
  own.set("sec-websocket-version", request.headers.get("sec-websocket-version") ?? "13");
  const host = place.kind === "unix" ? "localhost" : place.base.host;
  const lines = [`GET ${target} HTTP/1.1`, `host: ${host}`, "connection: Upgrade", "upgrade: websocket"];
  for (const [name, value] of own) lines.push(`${name}: ${value}`);
  return `${lines.join("\r\n")}\r\n\r\n`;
}

interface Head {
  readonly status: number;
  readonly fields: Headers;
}

/** @throws ProxyError `upstream.malformed` */
function parseHead(text: string): Head {
  const [first = "", ...lines] = text.split("\r\n");
  const status = Number(/^HTTP\/1\.1 ([1-5]\d\d)(?: |$)/.exec(first)?.[1] ?? "0");
  const fields = new Headers();
  try {
    if (status === 0) throw new TypeError("no status line");
    for (const line of lines) {
      const colon = line.indexOf(":");
      fields.append(line.slice(0, colon), line.slice(colon + 1).trim());
    }
  } catch (cause) {
    throw new ProxyError("upstream.malformed", "Cannot read slicerd's answer: its head is malformed", {
      cause,
    });
  }
  return { status, fields };
}

/** slicerd says no: its status, in our words, since only a handshake was asked for. */
function refused({ status }: Head, conn: Conn): Response {
  closeQuietly(conn);
  return refuse(
    status < 400 ? 502 : status,
    `Cannot open this WebSocket: slicerd answered with status ${status}`,
  );
}

interface RelayOptions {
  readonly reader: ConnReader;
  readonly signal: AbortSignal;
}

/** Joins the two until one of them ends. */
function relay(socket: WebSocket, conn: Conn, { reader, signal }: RelayOptions): void {
  const { promise: opened, resolve: onOpen } = Promise.withResolvers<void>();
  const end = (code: number, reason: string) => {
    closeQuietly(conn);
    onOpen();
    // 1005 and 1006 may be read and never sent (RFC 6455 §7.4.1); the runtime takes 1000 and 3000 to 4999.
    const mayBeSent = code === 1000 || (code >= 3_000 && code <= 4_999);
    try {
      if (mayBeSent) socket.close(code, reason);
      else socket.close();
    } catch {
      // closed already
    }
  };
  const onStop = () => end(4_001, "slicer-proxy stops");
  signal.addEventListener("abort", onStop);
  const toSlicerd = new FrameQueue(conn, () => end(4_009, "sent faster than slicerd reads"));
  socket.binaryType = "arraybuffer";
  socket.onopen = () => onOpen();
  socket.onmessage = ({ data }) =>
    typeof data === "string"
      ? toSlicerd.send(OPCODE.text, new TextEncoder().encode(data))
      : toSlicerd.send(OPCODE.binary, new Uint8Array(data));
  socket.onerror = () => end(1000, "");
  socket.onclose = ({ code, reason }) => {
    signal.removeEventListener("abort", onStop);
    onOpen();
    toSlicerd.send(OPCODE.close, closePayload(code === 1005 || code === 1006 ? 1000 : code, reason));
    toSlicerd.finish();
  };
  (async () => {
    await opened;
    try {
      const { code, reason } = await fromSlicerd(socket, reader, toSlicerd);
      end(code, reason);
    } catch {
      end(4_002, "slicerd has gone");
    }
  })();
}

/** Hands slicerd's messages on until it closes. @throws what reading throws */
async function fromSlicerd(socket: WebSocket, reader: ConnReader, back: FrameQueue) {
  let pieces: Uint8Array[] = [];
  let length = 0;
  let kind: number = OPCODE.binary;
  for (;;) {
    const frame = await reader.frame();
    if (frame.opcode === OPCODE.close) return closeOf(frame);
    if (frame.opcode === OPCODE.ping) back.send(OPCODE.pong, frame.payload);
    if (frame.opcode >= OPCODE.close) continue;
    if (frame.opcode !== OPCODE.continuation) [kind, pieces, length] = [frame.opcode, [], 0];
    pieces.push(frame.payload);
    length += frame.payload.length;
    if (length > MAX_MESSAGE_BYTES || pieces.length > MAX_MESSAGE_BYTES / 64) {
      throw new RangeError("too long");
    }
    if (!frame.isFinal) continue;
    const message = joined(pieces, length);
    pieces = [];
    if (socket.readyState !== WebSocket.OPEN) throw new TypeError("the caller has gone");
    socket.send(kind === OPCODE.text ? new TextDecoder().decode(message) : message);
    while (socket.readyState === WebSocket.OPEN && socket.bufferedAmount > MAX_WAITING_BYTES) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }
}

/** Frames for slicerd, one after the other. */
class FrameQueue {
  readonly #conn: Conn;
  readonly #onOverflow: () => void;
  #writing: Promise<void> = Promise.resolve();
  #queued = 0;
  #isOver = false;

  constructor(conn: Conn, onOverflow: () => void) {
    this.#conn = conn;
    this.#onOverflow = onOverflow;
  }

  send(opcode: number, payload: Uint8Array): void {
    if (this.#isOver) return;
    this.#queued += payload.length + 64;
    if (this.#queued > MAX_QUEUED_BYTES) {
      this.#isOver = true;
      return this.#onOverflow();
    }
    this.#writing = this.#writing.then(async () => {
      await writeAll(this.#conn, formatFrame(opcode, payload));
      this.#queued -= payload.length + 64;
    }).catch(() => {
      this.#isOver = true; // slicerd has gone: whoever reads from it says so
    });
  }

  /** Closes the connection once what was sent has left. */
  finish(): void {
    this.#writing.finally(() => closeQuietly(this.#conn));
  }
}

/** Reads heads and frames, and keeps what comes after them. */
class ConnReader {
  readonly #conn: Conn;
  #bytes = new Uint8Array(16_384);
  #start = 0;
  #end = 0;

  constructor(conn: Conn) {
    this.#conn = conn;
  }

  /** The lines of a head, without the empty one. @throws ProxyError `upstream.malformed`, `upstream.closed` */
  async head(): Promise<string> {
    for (let from = 0;;) {
      const text = new TextDecoder("latin1").decode(this.#bytes.subarray(this.#start, this.#end));
      const at = text.indexOf("\r\n\r\n", Math.max(0, from - 3));
      if (at >= 0) {
        this.#start += at + 4;
        return text.slice(0, at);
      }
      from = text.length;
      if (from > MAX_HEAD_BYTES) {
        throw new ProxyError("upstream.malformed", "Cannot read slicerd's answer: its head is too long");
      }
      await this.#fill();
    }
  }

  /** @throws ProxyError `upstream.malformed`, `upstream.closed` */
  async frame(): Promise<Frame> {
    for (;;) {
      const found = readFrame(this.#bytes.subarray(this.#start, this.#end), MAX_MESSAGE_BYTES);
      if (found) {
        this.#start += found.length;
        return found.frame;
      }
      await this.#fill();
    }
  }

  async #fill(): Promise<void> {
    if (this.#start > 0) {
      this.#bytes.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    if (this.#end === this.#bytes.length) {
      const larger = new Uint8Array(this.#bytes.length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    const count = await this.#conn.read(this.#bytes.subarray(this.#end));
    if (count === null) {
      throw new ProxyError("upstream.closed", "Cannot read on from slicerd: it closed the connection");
    }
    this.#end += count;
  }
}

function closeOf({ payload }: Frame): { readonly code: number; readonly reason: string } {
  if (payload.length < 2) return { code: 1000, reason: "" };
  return {
    code: (payload[0] ?? 0) << 8 | (payload[1] ?? 0),
    reason: new TextDecoder().decode(payload.subarray(2)),
  };
}

function closePayload(code: number, reason: string): Uint8Array {
  const text = new TextEncoder().encode(reason).subarray(0, 123);
  return new Uint8Array([code >> 8, code & 0xff, ...text]);
}

function joined(pieces: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

async function writeAll(conn: Conn, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
}

function closeQuietly(conn: Conn): void {
  try {
    conn.close();
  } catch {
    // closed already: either side may have been first
  }
}
