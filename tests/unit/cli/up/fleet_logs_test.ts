import { assertEquals, assertThrows } from "@std/assert";
import { ownWay, parseAdvertised } from "../../../../cli/up/fleet_logs.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { parseAuthority } from "../../../../core/host_port.ts";

Deno.test("other hosts are told where the API is bound, or what --api-advertise says, and no address that is only here", () => {
  const rows: [bind: string, advertised: string | undefined, origin: string | undefined][] = [
    ["10.0.0.1:8443", undefined, "https://10.0.0.1:8443"],
    ["[fd00::1]:8443", undefined, "https://[fd00::1]:8443"],
    ["10.0.0.1:8443", "proxy-1.internal", "https://proxy-1.internal:8443"],
    ["10.0.0.1:8443", "203.0.113.7:443", "https://203.0.113.7:443"],
    ["0.0.0.0:8443", "[fd00::1]:9", "https://[fd00::1]:9"],
    ["0.0.0.0:8443", "fd00::1", "https://[fd00::1]:8443"],
    ["0.0.0.0:8443", undefined, undefined],
    ["[::]:8443", undefined, undefined],
  ];
  for (const [bind, advertised, origin] of rows) {
    const config = {
      apiBind: parseAuthority(bind),
      apiAdvertise: advertised === undefined ? undefined : parseAdvertised(advertised),
    };
    assertEquals(
      ownWay(config, { isTls: true, port: 8443, caPem: "CA" })?.origin,
      origin,
      `${bind} ${advertised}`,
    );
    assertEquals(ownWay(config, { isTls: false, port: 8443, caPem: "CA" }), undefined);
  }
});

Deno.test("--api-advertise takes a host, with or without a port, and nothing else", () => {
  for (
    const text of [
      "",
      "https://a.test",
      "a.test/",
      "u@a.test",
      "a.test:0",
      "a.test:99999",
      "0.0.0.0",
      "[::]:9",
    ]
  ) {
    assertThrows(() => parseAdvertised(text), ProxyError, "Cannot tell other hosts", text);
  }
});
