/**
 * A refusal as the protocols of remote calls have it: their clients show what stands here, and of any other answer at most its
 * status.
 *
 * - gRPC over HTTP/2, and gRPC-Web: Trailers-Only (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md,
 *   PROTOCOL-WEB.md)
 * - Connect: JSON with the status of HTTP, and in streams an EndStreamResponse (https://connectrpc.com/docs/protocol)
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type HeaderField, makeField, valuesOf } from "./message/fields.ts";
import { isGrpc } from "./message/grpc.ts";
import type { WholeAnswer } from "./message/message.ts";

/** What is said: `text` is one line. */
export interface RpcRefusal {
  readonly status: number;
  readonly text: string;
  /** Fields of the answer that do not depend on its form. */
  readonly fields: Fields;
}

/** A code that all these protocols have, as number and as word. */
type Code = readonly [number: number, word: string];
const INTERNAL: Code = [13, "internal"];
const CODES: Readonly<Record<number, Code>> = {
  400: INTERNAL,
  403: [7, "permission_denied"],
  429: [8, "resource_exhausted"],
  431: [8, "resource_exhausted"],
  500: INTERNAL,
  504: [4, "deadline_exceeded"],
};
const UNAVAILABLE: Code = [14, "unavailable"];

/** The flag of that envelope. */
const END_STREAM = 2;

type Fields = readonly (readonly [name: string, value: string])[];

/** The answer to a request with these fields; undefined when it speaks none of these protocols. */
export function rpcAnswer(
  refusal: RpcRefusal,
  { version, fields }: { readonly version?: string | undefined; readonly fields: readonly HeaderField[] },
): WholeAnswer | undefined {
  const [number, word] = CODES[refusal.status] ?? UNAVAILABLE;
  const trailersOnly = (type: string, more: Fields = []) =>
    answer(200, [
      ["Content-Type", type],
      ["Grpc-Status", String(number)],
      ["Grpc-Message", encodeGrpcMessage(refusal.text)],
      ...more,
      ...refusal.fields,
    ]);
  if (version === "HTTP/2" && isGrpc(fields)) return trailersOnly("application/grpc");
  const [type = ""] = valuesOf(fields, "content-type").map((value) => value.toLowerCase());
  const [web] = /^application\/grpc-web(?:-text)?(?=[+;]|$)/.exec(type) ?? [];
  if (web !== undefined) return trailersOnly(web, [["Content-Length", "0"]]);
  const error = { code: word, message: refusal.text };
  const say = (status: number, form: string, body: Uint8Array) =>
    answer(
      status,
      [["Content-Type", form], ["Content-Length", String(body.length)], ...refusal.fields],
      body,
    );
  const [stream] = /^application\/connect\+(?:json|proto)(?=;|$)/.exec(type) ?? [];
  if (stream !== undefined) return say(200, stream, endOfStream({ error }));
  if (valuesOf(fields, "connect-protocol-version").length === 0) return undefined;
  return say(refusal.status, "application/json", Buffer.from(JSON.stringify(error)));
}

function answer(status: number, fields: Fields, body: Uint8Array = new Uint8Array(0)): WholeAnswer {
  return { status, fields: fields.map(([name, value]) => makeField(name, value)), body };
}

/** The last envelope of a stream of Connect: flags, four bytes of length, JSON. */
function endOfStream(value: unknown): Uint8Array {
  const json = Buffer.from(JSON.stringify(value));
  const head = Buffer.alloc(5);
  head[0] = END_STREAM;
  head.writeUInt32BE(json.length, 1);
  return Buffer.concat([head, json]);
}

/** Percent-encoded but for printable ASCII, as gRPC's protocol has it. */
function encodeGrpcMessage(text: string): string {
  let out = "";
  for (const byte of Buffer.from(text, "utf8")) {
    const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x25;
    out += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}
