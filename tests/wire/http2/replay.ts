/**
 * The codec between a peer of frames and a small application, without the proxy's engine.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { isProxyError } from "../../../core/errors.ts";
import { Deadlines } from "../../../core/deadlines.ts";
import { DEFAULT_LIMITS } from "../../../core/limits.ts";
import { startHttp2Client } from "../../../proxy/http2/client.ts";
import { H2, Http2Error } from "../../../proxy/http2/error.ts";
import { STATIC_TABLE } from "../../../proxy/http2/hpack_tables.ts";
import { startHttp2Server } from "../../../proxy/http2/server.ts";
import type {
  Http2ClientConnection,
  Http2Connection,
  Http2Field,
  Http2ServerConnection,
  Http2ServerStream,
  Http2Stream,
} from "../../../proxy/http2/types.ts";
import { ByteReader } from "../../../proxy/streams/byte_reader.ts";
import { makePipe, type PipeEnd, settle } from "../pipe.ts";
import { codeName, formatFrame, parseFrameLine, PREFACE, type SeenFrame, splitFrames } from "./frame_text.ts";
import type { Http2Case, Outcome } from "./transcript.ts";

/** Where the peer's bytes are cut: nowhere, everywhere, or at one place. */
export type Cut = "whole" | "bytes" | number;

/** Replays a case in one way of cutting. */
export async function replay(wire: Http2Case, cut: Cut): Promise<Outcome> {
  const [peer, stream] = makePipe();
  const events: string[] = [];
  const deadlines = new Deadlines();
  const options = {
    stream,
    reader: new ByteReader(stream),
    limits: { ...DEFAULT_LIMITS, ...wire.limits },
    deadlines,
  };
  const connection = wire.role === "server"
    ? startHttp2Server({
      ...options,
      onRequest: (request) => serve(request, events),
      onRefused: (error) => void events.push(`* refused ${describe(error)}`),
    })
    : startHttp2Client(options);
  const got = collect(peer);
  let sent = 0;
  for (const step of wire.steps) {
    if (typeof step === "string") {
      act(connection, step, events);
      await settle();
      continue;
    }
    const local = typeof cut === "number" ? cut - sent : cut;
    for (const piece of pieces(step, local)) {
      await peer.write(piece).catch(() => {}); // closed already
      await settle();
    }
    sent += step.length;
  }
  await quiet(got);
  const end = got.isEnded ? "closed" : "open";
  const seen = [...events];
  peer.close();
  await settle();
  if (end === "open") connection.close();
  await connection.closed;
  const why = connection.error && end === "closed" ? [`* over ${describe(connection.error)}`] : [];
  return { frames: framesOf(Buffer.concat(got.chunks), wire), events: grouped([...seen, ...why]), end };
}

/** Reads until nothing more comes. */
async function quiet(got: Collected): Promise<void> {
  for (let turns = 0, before = -1; turns < 3; turns++) {
    await settle();
    if (got.chunks.length !== before) turns = 0;
    before = got.chunks.length;
  }
}

function pieces(bytes: Buffer, cut: Cut): Buffer[] {
  if (cut === "bytes") return [...bytes].map((byte) => Buffer.from([byte]));
  if (cut === "whole" || cut <= 0 || cut >= bytes.length) return [bytes];
  return [bytes.subarray(0, cut), bytes.subarray(cut)];
}

interface Collected {
  readonly chunks: Buffer[];
  isEnded: boolean;
}

function collect(stream: PipeEnd): Collected {
  const got: Collected = { chunks: [], isEnded: false };
  const next = async (): Promise<void> => {
    const buffer = new Uint8Array(65_536);
    for (;;) {
      const count = await stream.read(buffer);
      if (count === null) break;
      got.chunks.push(Buffer.from(buffer.slice(0, count)));
    }
    got.isEnded = true;
  };
  next().catch(() => {}); // closed by the replay
  return got;
}

// The application.

/** A server whose behaviour is in the path. */
async function serve(request: Http2ServerStream, events: string[]): Promise<void> {
  const { id, head } = request;
  request.onReset = (error) => events.push(`* ${id} error ${describe(error)}`);
  const [, what = "", argument = ""] = (head.path ?? "").split("/");
  switch (what) {
    case "ok":
      request.respond({ status: 200, fields: [] }, true);
      return;
    case "echo":
      request.respond({ status: 200, fields: [] });
      return await copy(request, request);
    case "take":
      events.push(`* ${id} body ${await bodyOf(request)}`);
      if (request.trailers) events.push(`* ${id} trailers${fieldsText(request.trailers)}`);
      request.respond({ status: 200, fields: [] }, true);
      return;
    case "size": {
      request.respond({ status: 200, fields: [] });
      return await request.write(new Uint8Array(Number(argument)).fill(0x78), true);
    }
    case "info":
      request.respond({ status: 103, fields: [{ key: "link", value: "</x>" }] });
      request.respond({ status: 204, fields: [] }, true);
      return;
    case "trailers":
      request.respond({ status: 200, fields: [] });
      await request.write(Buffer.from("hi"));
      request.end([{ key: "grpc-status", value: "0" }]);
      return;
    case "throw":
      throw new TypeError("a bug of the application");
    default: { // what the head was; then it hangs until it is cut
      const protocol = head.protocol === undefined ? "" : ` protocol=${head.protocol}`;
      const place = [head.method, head.scheme, head.authority, head.path].map((part) => part ?? "-").join(
        " ",
      );
      events.push(`* ${id} ${place}${protocol}${fieldsText(head.fields)}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      request.onReset = (error) => {
        events.push(`* ${id} error ${describe(error)}`);
        resolve();
      };
      return await promise;
    }
  }
}

async function copy(from: Http2Stream, to: Http2Stream): Promise<void> {
  while (await from.fill()) {
    const bytes = from.available;
    const isLast = from.isLast;
    await to.write(bytes, isLast);
    from.consume(bytes.length);
    if (isLast) return;
  }
  to.end(from.trailers);
}

async function bodyOf(stream: Http2Stream): Promise<number> {
  let size = 0;
  while (await stream.fill()) {
    const count = stream.available.length;
    size += count;
    stream.consume(count);
  }
  return size;
}

/** What a step that begins with `do` makes our side do. */
function act(connection: Http2Connection, step: string, events: string[]): void {
  const [what, argument = "", ...more] = step.split(" ");
  const connected = connection as Partial<Http2ServerConnection & Http2ClientConnection>;
  if (what === "shutdown") connection.shutDown();
  else if (what === "close") connection.close(H2[argument as keyof typeof H2] ?? 0);
  else if (what === "wait") return; // what came before has been dealt with
  else if (what === "extended") connected.announceExtendedConnect?.();
  else if (what === "open") request(connected as Http2ClientConnection, argument, more.join(" "), events);
  else throw new SyntaxError(`no step: ${step}`);
}

/** A client's request; its body is the text, to be ended unless that ends in `…`. */
function request(client: Http2ClientConnection, target: string, body: string, events: string[]): void {
  const [, method = "", path = ""] = /^([A-Z]+):(.*)$/.exec(target) ?? [];
  const run = async (): Promise<void> => {
    const stream = await client.openStream(
      () => ({ method, scheme: "https", authority: "up.test", path, protocol: undefined, fields: [] }),
      { end: body === "" },
    );
    const { id } = stream;
    if (body !== "") {
      const text = body.replace(/…$/, "");
      stream.write(Buffer.from(text), text === body).catch((error) =>
        events.push(`* ${id} write ${describe(error)}`)
      );
    }
    try {
      let head = await stream.response();
      while (head.status < 200) {
        events.push(`* ${id} interim ${head.status}`);
        head = await stream.response();
      }
      events.push(
        `* ${id} response ${head.status}${head.isBodyless ? " bodyless" : ""}${fieldsText(head.fields)}`,
      );
      events.push(`* ${id} body ${await bodyOf(stream)}`);
      if (stream.trailers) events.push(`* ${id} trailers${fieldsText(stream.trailers)}`);
    } catch (error) {
      events.push(`* ${id} error ${describe(error)}`);
    }
  };
  run().catch((error) => events.push(`* ${target} not sent ${describe(error)}`));
}

function describe(error: unknown): string {
  if (error instanceof Http2Error) {
    return `${error.code} ${codeName(error.h2Code)}${error.isUnprocessed ? " unprocessed" : ""}`;
  }
  return isProxyError(error) ? error.code : String(error);
}

function fieldsText(fields: readonly Http2Field[]): string {
  return fields.map(({ key, value, isSensitive }) => ` ${key}=${value}${isSensitive ? " (sensitive)" : ""}`)
    .join("");
}

// What was seen.

/** The frames, by stream, without what every connection begins with; DATA and WINDOW_UPDATEs of a stream added up. */
function framesOf(bytes: Buffer, wire: Http2Case): string[] {
  const start = wire.role === "client" ? PREFACE.length : 0;
  const { frames } = splitFrames(bytes.subarray(start));
  const lines: string[] = [];
  const open = new Map<number, SeenFrame>();
  const add = (frame: SeenFrame) =>
    lines.push(formatFrame(frame, frame.type === 1 ? fieldsOf(frame.payload) : []));
  const credit = new Map<number, number>();
  for (const frame of frames.slice(wire.hidesHello ? 2 : 0)) {
    const held = open.get(frame.id);
    if (frame.type === 0) {
      open.set(frame.id, {
        ...frame,
        payload: Buffer.concat([held?.payload ?? Buffer.alloc(0), frame.payload]),
      });
      continue;
    }
    if (frame.type === 8) {
      credit.set(frame.id, (credit.get(frame.id) ?? 0) + frame.payload.readUInt32BE());
      continue;
    }
    if (held) add(held);
    open.delete(frame.id);
    add(frame);
  }
  for (const frame of open.values()) add(frame);
  for (const [id, sum] of credit) lines.push(`WINDOW_UPDATE ${id} ${sum}`);
  const ack = wire.hidesHello ? lines.indexOf("SETTINGS ACK") : -1;
  if (ack >= 0) lines.splice(ack, 1);
  return grouped(lines);
}

/** Lines by stream, in the order in which they came within each: between streams it depends on timing. */
function grouped(lines: readonly string[]): string[] {
  const idOf = (line: string) =>
    Number(/^(?:\* |[A-Z_]+ )(\d+)/.exec(line.replace(/^(GOAWAY|SETTINGS|PING).*/, ""))?.[1] ?? 0);
  return [...lines].sort((a, b) => idOf(a) - idOf(b));
}

/** A header list of ours: static entries, literals without a table, and one table size update. */
function fieldsOf(block: Buffer): string[] {
  const fields: string[] = [];
  let at = 0;
  const integer = (bits: number): number => {
    const mask = (1 << bits) - 1;
    let value = (block[at++] ?? 0) & mask;
    for (let shift = 0; value >= mask; shift += 7) {
      const byte = block[at++] ?? 0;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) break;
    }
    return value;
  };
  const text = (): string => {
    const length = integer(7);
    at += length;
    return block.toString("latin1", at - length, at);
  };
  while (at < block.length) {
    const first = block[at] ?? 0;
    if (first >= 128) fields.push((STATIC_TABLE[integer(7) - 1] ?? []).join("="));
    else if (first >= 32 && first < 64) fields.push(`size=${integer(5)}`);
    else if (first >= 64) fields.push("INDEXED");
    else {
      const index = integer(4);
      const name = index === 0 ? text() : STATIC_TABLE[index - 1]?.[0];
      fields.push(`${name}=${text()}${first >= 16 ? " (never indexed)" : ""}`);
    }
  }
  return fields.filter((field) => field !== "size=0");
}

export { parseFrameLine };
