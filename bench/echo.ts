/**
 * What looking for a credential costs, without sockets: bodies of 64 KiB pieces through the watch and past it, and the head
 * and body of a small answer. Prints CPU seconds per GiB and microseconds per answer.
 *
 *     deno run -A bench/echo.ts
 *
 * @module
 */
import { Buffer } from "node:buffer";
import process from "node:process";
import * as zlib from "node:zlib";
import { Deadlines } from "../core/deadlines.ts";
import { EchoGuard } from "../proxy/echo/echo_guard.ts";
import { Needles } from "../proxy/echo/needles.ts";
import { renderingsOf } from "../proxy/echo/renderings.ts";
import { makeField } from "../proxy/message/fields.ts";
import type { MessageBody, ResponseHead } from "../proxy/message/message.ts";

const PIECE_BYTES = 65_536;
const GIB = 1_073_741_824;
const ANSWERS = 50_000;

/** The same piece so many times. */
function bodyOf(piece: Uint8Array, count: number): MessageBody {
  let left = count;
  return {
    get done() {
      return left === 0;
    },
    isReleased: true,
    closeDelimited: false,
    trailers: undefined,
    takeFirst: () => new Uint8Array(0),
    take: () => {
      left--;
      return piece;
    },
    release: () => {},
    fill: () => Promise.resolve(true),
  };
}

async function cpuSecondsFor(run: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000_000;
}

async function drain(body: MessageBody): Promise<void> {
  while (!body.done) {
    if (body.take().length > 0) body.release();
    else if (!body.done) await body.fill();
  }
}

const needles = new Needles(renderingsOf(["sk-bench/0123456789+abcdefghijklmnop"]));
const guard = () => new EchoGuard(needles, "mask", new Deadlines());
const headOf = (...more: readonly (readonly [string, string])[]): ResponseHead => ({
  version: "HTTP/1.1",
  status: 200,
  reason: "OK",
  fields: [["Content-Type", "application/json"], ["Date", "Fri, 27 Nov 2026 10:00:00 GMT"], ...more].map(
    ([name = "", value = ""]) => makeField(name, value),
  ),
});
const text = Buffer.from(
  Array.from({ length: 2_000 }, (_, i) => `{"id":${i},"name":"s${i * 7_919}"}\n`).join(""),
).subarray(0, PIECE_BYTES);
const piece = Buffer.concat([text, text]).subarray(0, PIECE_BYTES);
const gzip = zlib.gzipSync(piece);

const identity = await cpuSecondsFor(() => drain(guard().body(headOf(), bodyOf(piece, GIB / PIECE_BYTES))));
const gzipped = await cpuSecondsFor(() =>
  drain(guard().body(headOf(["Content-Encoding", "gzip"]), bodyOf(gzip, GIB / PIECE_BYTES / 8)))
);
const small = piece.subarray(0, 1_024);
const answers = await cpuSecondsFor(async () => {
  for (let i = 0; i < ANSWERS; i++) {
    const each = guard();
    const head = each.head(headOf());
    await drain(each.body(head, bodyOf(small, 1)));
  }
});
const load = Deno.loadavg().map((each) => each.toFixed(1)).join(" ");
const lines = [
  `identity: ${identity.toFixed(2)} CPU s/GiB`,
  `gzip: ${(gzipped * 8).toFixed(2)} CPU s per GiB that it decodes to`,
  `an answer of 1 KiB: ${(answers / ANSWERS * 1e6).toFixed(1)} µs`,
  `load average: ${load}`,
];
await Deno.stdout.write(new TextEncoder().encode(`${lines.join("\n")}\n`));
