/** A stream as a connection of bytes: what is read, when credit goes back, and how it ends. */
import { assertEquals, assertRejects } from "@std/assert";
import { rawEndOf } from "../../../../proxy/http2/bytes.ts";
import { H2, Http2Error } from "../../../../proxy/http2/error.ts";
import { ServerStream } from "../../../../proxy/http2/server_stream.ts";
import { WatchedLink } from "../../../support/http2_stream_link.ts";

/** A stream whose head was answered, as bytes. */
function open() {
  const link = new WatchedLink();
  const head = {
    method: "CONNECT",
    scheme: "https",
    authority: "a.test",
    path: "/",
    protocol: "websocket",
    fields: [],
  };
  const stream = new ServerStream(1, link, {
    windows: { receive: 100, send: 100 },
    request: { head, contentLength: undefined },
    isBodyless: false,
  });
  stream.respond({ status: 200, fields: [] });
  link.told();
  return { link, stream, raw: rawEndOf(stream) };
}

Deno.test("what is read gives credit back with the next read, and no more than was taken", async () => {
  const { link, stream, raw } = open();
  assertEquals(raw.first.length, 0);
  const into = new Uint8Array(4);
  const reading = raw.stream.read(into);
  stream.receiveData(new Uint8Array([1, 2, 3, 4, 5]), 5, false);
  assertEquals([await reading, [...into], link.told()], [4, [1, 2, 3, 4], []]);
  assertEquals([await raw.stream.read(into), into[0], link.told()], [1, 5, ["credit 4"]]);
  const last = raw.stream.read(into);
  assertEquals(link.told(), ["credit 1"]);
  stream.receiveData(new Uint8Array(0), 0, true);
  assertEquals([await last, await raw.stream.read(into), link.told()], [null, null, []]);
});

Deno.test("what is written is DATA, its end is END_STREAM, and a close is a reset unless all is over", async () => {
  const { link, stream, raw } = open();
  assertEquals(await raw.stream.write(new Uint8Array(3)), 3);
  await raw.stream.closeWrite();
  assertEquals(link.told(), ["DATA 1 3", "DATA 1 ES 0"]);
  raw.stream.close();
  assertEquals([link.told(), stream.error?.h2Code], [
    ["RST_STREAM 1 CANCEL", "drop 1", "remove 1"],
    H2.CANCEL,
  ]);
  await assertRejects(() => raw.stream.write(new Uint8Array(1)), Http2Error);

  const over = open();
  over.stream.receiveData(new Uint8Array(0), 0, true);
  await over.raw.stream.closeWrite();
  over.link.told();
  over.raw.stream.close();
  assertEquals(over.link.told(), []);
});

Deno.test("onCut() tells of the peer's cut, also of one that has been", () => {
  let told = 0;
  const { stream, raw } = open();
  raw.onCut?.(() => told++);
  assertEquals(told, 0);
  stream.receiveReset(H2.CANCEL);
  assertEquals(told, 1);
  raw.onCut?.(() => told++);
  assertEquals(told, 2);
});
