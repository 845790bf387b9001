import { assertEquals } from "@std/assert";
import { H2, Http2Error } from "../../../../proxy/http2/error.ts";
import { Fault } from "../../../../proxy/http2/fault.ts";

Deno.test("error codes have the numbers of RFC 9113 §7", () => {
  assertEquals({ ...H2 }, {
    NO_ERROR: 0,
    PROTOCOL_ERROR: 1,
    INTERNAL_ERROR: 2,
    FLOW_CONTROL_ERROR: 3,
    SETTINGS_TIMEOUT: 4,
    STREAM_CLOSED: 5,
    FRAME_SIZE_ERROR: 6,
    REFUSED_STREAM: 7,
    CANCEL: 8,
    COMPRESSION_ERROR: 9,
    CONNECT_ERROR: 10,
    ENHANCE_YOUR_CALM: 11,
    INADEQUATE_SECURITY: 12,
    HTTP_1_1_REQUIRED: 13,
  });
});

Deno.test("an error says that nothing was acted on only where that is known", () => {
  const make = (details?: { readonly isUnprocessed?: boolean }) =>
    new Http2Error("upstream.closed", 7, "Cannot read the stream: it was reset", details).isUnprocessed;
  assertEquals([make(), make({}), make({ isUnprocessed: false }), make({ isUnprocessed: true })], [
    false,
    false,
    false,
    true,
  ]);
});

Deno.test("a fault of the peer's is a flood only where it is said to be one", () => {
  assertEquals(new Fault("stream", 1, "a frame").isFlood, false);
  assertEquals(new Fault("connection", 11, "a frame", true).isFlood, true);
});
