/**
 * A body whose last bytes and whose RST_STREAM came within one read looked whole to whoever had waited for those bytes: nothing
 * was left of it, and its side was closed. The truncated answer or upload was then sent on with END_STREAM.
 */
import { assertEquals, assertRejects } from "@std/assert";
import { Http2Body } from "../../proxy/http2/body.ts";
import { ClientStream } from "../../proxy/http2/client_stream.ts";
import { H2, Http2Error } from "../../proxy/http2/error.ts";
import { ServerStream } from "../../proxy/http2/server_stream.ts";
import { fields, WatchedLink } from "../support/http2_stream_link.ts";

const windows = { receive: 100, send: 100 };

Deno.test("a body that was cut is not over, though somebody waited for its last bytes", async (t) => {
  const answer = () => {
    const stream = new ClientStream(1, new WatchedLink(), {
      windows,
      method: "GET",
      maxInterim: 3,
      end: true,
    });
    stream.receiveHeaders(fields(":status=200"), false);
    return stream;
  };
  const upload = () => {
    const place = { scheme: "https", authority: "a.test", path: "/", protocol: undefined };
    const head = { method: "POST", ...place, fields: [] };
    const request = { head, contentLength: undefined };
    return new ServerStream(1, new WatchedLink(), { windows, request, isBodyless: false });
  };
  for (const [name, open] of [["an answer", answer], ["an upload", upload]] as const) {
    await t.step(name, async () => {
      const stream = open();
      const body = new Http2Body(stream, false);
      const filled = body.fill();
      stream.receiveData(new Uint8Array(5), 5, false);
      stream.receiveReset(H2.INTERNAL_ERROR);
      await filled;
      assertEquals([body.take().length, body.done, stream.isLast], [0, false, false]);
      body.release();
      await assertRejects(() => body.fill(), Http2Error);
      assertEquals(body.done, false);
    });
  }
});
