import { assertEquals } from "@std/assert";
import { isAmbiguousName } from "../../../../proxy/message/fields.ts";
import { knownKey } from "../../../../proxy/message/known_names.ts";

const KNOWN = [
  ...["Accept", "Accept-Encoding", "Accept-Language", "Accept-Ranges", "Age", "Alt-Svc", "Authorization"],
  ...[
    "Cache-Control",
    "Connection",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
  ],
  ...[
    "Cookie",
    "Date",
    "ETag",
    "Expect",
    "Expires",
    "Host",
    "If-Modified-Since",
    "If-None-Match",
    "Keep-Alive",
  ],
  ...["Last-Modified", "Location", "Origin", "Pragma", "Proxy-Authorization", "Range", "Referer", "Server"],
  ...[
    "Set-Cookie",
    "Strict-Transport-Security",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "User-Agent",
  ],
  ...["Vary", "Via", "X-Api-Key", "X-Content-Type-Options", "X-Frame-Options", "X-Request-Id"],
];

Deno.test("knownKey() knows each name as it is mostly written and in lower case, and no other", () => {
  for (const name of KNOWN) {
    const key = name.toLowerCase();
    assertEquals([knownKey(name), knownKey(key)], [key, key], name);
  }
  for (const name of ["CONTENT-LENGTH", "Content_Length", "Content-Length ", " host", "", "constructor"]) {
    assertEquals(knownKey(name), undefined, name);
  }
  assertEquals(isAmbiguousName(knownKey("Transfer-Encoding") ?? ""), false);
});
