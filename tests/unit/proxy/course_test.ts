import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { clientGone, revoked, stopping, toUpstreamError } from "../../../proxy/course.ts";

Deno.test("the errors that end a request have one set of words", () => {
  const rows = [
    [clientGone(), "client.closed", undefined, "Cannot answer: the client closed the connection"],
    [stopping(), "limit.reached", "shutdown", "Cannot go on: the proxy is stopping"],
    [
      ...[revoked(), "policy.revoked", "revoked"],
      "Cannot go on: the client, rule or secret that admitted this is gone",
    ],
  ] as const;
  for (const [error, ...expected] of rows) {
    assert(error instanceof ProxyError);
    assertEquals([error.code, error.reason, error.message], [...expected]);
  }
});

Deno.test("toUpstreamError() takes each way in which a connection breaks for a broken one, and nothing else", () => {
  const { errors } = Deno;
  const broken = [
    ...[errors.ConnectionReset, errors.BrokenPipe, errors.UnexpectedEof, errors.ConnectionAborted],
    ...[errors.InvalidData, errors.Interrupted, errors.BadResource, errors.TimedOut, errors.NotConnected],
  ];
  for (const kind of broken) {
    const cause = new kind("x");
    const error = toUpstreamError(cause, "up.test");
    assert(error instanceof ProxyError, kind.name);
    assertEquals([error.code, error.cause, error.message], [
      ...["upstream.closed", cause, "Cannot complete the request: the upstream connection broke"],
    ]);
  }
  const alert = toUpstreamError(
    new errors.InvalidData("received fatal alert: CertificateRequired"),
    "up.test",
  );
  assert(alert instanceof ProxyError && alert.code === "upstream.tls");
  assert(alert.message.startsWith("Cannot trust up.test: "));
  const own = new ProxyError("upstream.timeout", "x");
  const lateAlert = new ProxyError("upstream.closed", "received fatal alert: CertificateRequired");
  for (
    const other of [own, lateAlert, new TypeError("x"), new errors.PermissionDenied("x"), "text", undefined]
  ) {
    assertStrictEquals(toUpstreamError(other, "up.test"), other);
  }
});
