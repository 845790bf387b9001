import { assertEquals } from "@std/assert";
import { isForbiddenTrailer } from "../../../../proxy/message/trailer.ts";

Deno.test("isForbiddenTrailer() knows every field that must not come behind a body, written with - or with _", async (t) => {
  const forbidden = [
    "content-length",
    "transfer-encoding",
    "host",
    "trailer",
    "cookie",
    "set-cookie",
    "expect",
    "content-encoding",
    "content-type",
    "content-range",
    "connection", // for one hop
    "authorization", // a credential
    "x-http-method-override", // changes what a rule has checked
    "x-slicer-proxy-reason", // ours
  ];
  for (const name of forbidden) {
    await t.step(name, () => {
      assertEquals(isForbiddenTrailer(name), true);
      if (!name.startsWith("x-slicer-proxy-")) {
        assertEquals(isForbiddenTrailer(name.replaceAll("-", "_")), true);
      }
    });
  }
  for (const name of ["grpc-status", "grpc-message", "etag", "digest", "server-timing", "x-checksum"]) {
    await t.step(name, () => assertEquals(isForbiddenTrailer(name), false));
  }
});
