import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { requestBody, responseBody } from "../../../../proxy/http1/body.ts";
import { PulledBody } from "../../../../proxy/http1/pulled_body.ts";
import { makeField } from "../../../../proxy/message/fields.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { makePipe } from "../../../wire/pipe.ts";

function setUp(field: readonly [string, string] | undefined, here = "") {
  const [peer, stream] = makePipe();
  const reader = new ByteReader(stream, here === "" ? undefined : Buffer.from(here));
  const fields = field ? [makeField(...field)] : [];
  const head = { method: "POST", target: "/", version: "HTTP/1.1", fields } as const;
  const response = { version: "HTTP/1.1", status: 200, reason: "", fields } as const;
  const framing = field ? requestBody(head, DEFAULT_LIMITS) : responseBody(response, "GET", DEFAULT_LIMITS);
  return { peer, reader, body: new PulledBody(framing, reader) };
}

Deno.test("PulledBody gives what belongs to it, holds it until it is released, and leaves the rest", async () => {
  const { peer, body, reader } = setUp(["Content-Length", "5"], "abc");
  assertEquals([body.done, body.isReleased, body.closeDelimited, body.trailers], [
    false,
    false,
    false,
    undefined,
  ]);
  body.release(); // nothing was taken
  assertEquals([Buffer.from(body.take()).toString(), reader.size], ["abc", 3]);
  body.release();
  assertEquals(reader.size, 0);
  body.release(); // nothing twice
  await peer.write(Buffer.from("deNEXT"));
  assertEquals(await body.fill(), true);
  assertEquals([Buffer.from(body.take()).toString(), body.done, body.isReleased], ["de", true, false]);
  body.release();
  assertEquals([body.isReleased, Buffer.from(reader.available).toString()], [true, "NEXT"]);
});

Deno.test("PulledBody lets up to 64 KiB leave with the head, released, and no more than that", () => {
  const first = (size: number) => {
    const { body, reader } = setUp(["Content-Length", "100000"], "x".repeat(size));
    return [body.takeFirst().length, reader.size];
  };
  assertEquals([first(0), first(1), first(65_536), first(65_537)], [[0, 0], [1, 0], [65_536, 0], [
    0,
    65_537,
  ]]);
  const { body, reader } = setUp(["Content-Length", "0"], "NEXT");
  assertEquals([body.done, body.isReleased], [true, true]);
  assertEquals([body.takeFirst().length, reader.size], [0, 4]);
});

Deno.test("PulledBody that ends with its connection is whole then; another is cut", async () => {
  const open = setUp(undefined, "ab");
  assertEquals([open.body.closeDelimited, open.body.done], [true, false]);
  open.body.take();
  open.body.release();
  await open.peer.closeWrite();
  assertEquals([await open.body.fill(), open.body.done, open.body.isReleased], [true, true, true]);
  const cut = setUp(["Content-Length", "5"], "ab");
  await cut.peer.closeWrite();
  cut.body.take();
  cut.body.release();
  assertEquals([await cut.body.fill(), cut.body.done], [false, false]);
  const more = setUp(undefined);
  await more.peer.write(Buffer.from("ab"));
  assertEquals([await more.body.fill(), more.body.done, more.body.take().length], [true, false, 2]);
});

Deno.test("PulledBody says where content lies among framing, once that is asked for", () => {
  const text = "2\r\nab\r\n0\r\nA: b\r\n\r\n";
  const plain = setUp(["Transfer-Encoding", "chunked"], text).body;
  plain.take();
  assertEquals(plain.content, undefined);
  const { body } = setUp(["Transfer-Encoding", "chunked"], text);
  body.recordContent();
  assertEquals(Buffer.from(body.take()).toString(), text);
  assertEquals(body.content?.map(({ start, end, isTrailer }) => [text.slice(start, end), isTrailer]), [
    ...[["ab", false], ["A: b\r\n", true], ["\r\n", true]] as [string, boolean][],
  ]);
  setUp(["Content-Length", "2"]).body.recordContent(); // all of it is content
});
