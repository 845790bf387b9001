import { assertEquals } from "@std/assert";
import { isProxyError, ProxyError } from "../../../../../core/errors.ts";
import { notReached, refusedByParent } from "../../../../../proxy/egress/parents/parent_error.ts";

const WORDS: Readonly<Record<string, string>> = {
  "upstream.timeout": "it does not answer in time",
  "upstream.tls": "its certificate is not trusted here (see --upstream-ca), or TLS failed",
  "upstream.dns": "its name has no address",
  "upstream.refused": "it refuses connections",
  "upstream.unreachable": "it cannot be reached",
  "limit.reached": "too much is under way",
};

const of = (error: unknown) => isProxyError(error) ? `${error.code} ${error.reason}` : error;

Deno.test("refusedByParent() tells a parent's credentials, its policy and its trouble apart", () => {
  const rows: readonly [status: number, expected: string][] = [
    [400, "upstream.refused parent-denied"],
    [401, "upstream.refused parent-auth"],
    [403, "upstream.refused parent-denied"],
    [407, "upstream.refused parent-auth"],
    [499, "upstream.refused parent-denied"],
    [500, "upstream.unreachable parent-failed"],
    [503, "upstream.unreachable parent-failed"],
    [504, "upstream.timeout parent-timeout"],
  ];
  for (const [status, expected] of rows) {
    const error = refusedByParent("a.test:443", status);
    assertEquals(of(error), expected);
    assertEquals(
      error.message.startsWith(`Cannot connect to a.test:443 through the parent proxy: it answers ${status}`),
      true,
    );
  }
});

Deno.test("notReached() makes an error about the parent of one of the way to it, and leaves others as they are", () => {
  const made: readonly [ProxyError, string][] = [
    [new ProxyError("upstream.timeout", "x"), "upstream.timeout parent-timeout"],
    [new ProxyError("upstream.tls", "x", { reason: "tls-expired" }), "upstream.tls parent-tls"],
    [new ProxyError("upstream.dns", "x"), "upstream.unreachable parent-unreachable"],
    [new ProxyError("upstream.refused", "x"), "upstream.unreachable parent-unreachable"],
    [new ProxyError("upstream.unreachable", "x"), "upstream.unreachable parent-unreachable"],
    [new ProxyError("limit.reached", "x"), "limit.reached overload"],
    [new ProxyError("limit.reached", "x", { reason: "quota" }), "limit.reached quota"],
  ];
  for (const [error, expected] of made) {
    const found = notReached("a.test", error);
    assertEquals([of(found), found instanceof Error && found.cause === error], [expected, true]);
    const words = WORDS[error.code];
    assertEquals(found instanceof Error && found.message.endsWith(`: ${words}`), true, `${found}`);
  }
  const left = [
    new TypeError("bug"),
    new ProxyError("client.closed", "x"),
    new ProxyError("upstream.address-denied", "x", { reason: "own-address" }),
    new ProxyError("upstream.refused", "x", { reason: "parent-auth" }),
  ];
  for (const error of left) assertEquals(notReached("a.test", error) === error, true);
});
