import { assertEquals, assertFalse, assertThrows } from "@std/assert";
import { resolve } from "node:path";
import { parseApiUrl } from "../../../../cli/api/url.ts";
import { ProxyError } from "../../../../core/errors.ts";

Deno.test("parseApiUrl() reads socket paths", async (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ["/run/api.sock", "/run/api.sock"],
    ["/run/api", "/run/api"],
    ["unix:///run/api", "/run/api"],
    ["unix:/run/api", "/run/api"],
    ["unix://./api", resolve("api")],
    ["unix://api", resolve("api")],
    ["./api", resolve("api")],
    ["../api", resolve("../api")],
    ["api.sock", resolve("api.sock")],
    ["x/api.sock", resolve("x/api.sock")],
    ["~/api", "/home/me/api"],
    ["unix://~/api", "/home/me/api"],
  ];
  for (const [text, path] of rows) {
    await t.step(text, () => {
      const target = parseApiUrl(text, "/home/me");
      assertEquals(target.kind === "unix" && target.path, path);
    });
  }
});

Deno.test("parseApiUrl() reads http and https URLs", async (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ["http://127.0.0.1:8080", "http://127.0.0.1:8080/"],
    ["HTTPS://proxy.example", "https://proxy.example/"],
    ["https://proxy.example/base", "https://proxy.example/base/"],
    ["https://proxy.example/base//", "https://proxy.example/base/"],
    ["http://[::1]:1/", "http://[::1]:1/"],
  ];
  for (const [text, base] of rows) {
    await t.step(text, () => {
      const target = parseApiUrl(text, undefined);
      assertEquals(target.kind === "http" && target.base.href, base);
    });
  }
});

Deno.test("parseApiUrl() refuses the rest and shows no password", async (t) => {
  for (
    const text of [
      "foo",
      "127.0.0.1:8080",
      "proxy.example:80",
      "unix://",
      "ftp://x/",
      "http://",
      "http://u:hunter2@x/",
      "http://u@x/",
      "http://x/?token=hunter2",
      "http://x/#f",
      "/a\0b",
    ]
  ) {
    await t.step(text, () => {
      const error = assertThrows(() => parseApiUrl(text, undefined), ProxyError);
      assertEquals(error.code, "cli.usage");
      assertFalse(`${error.message} ${error.hint}`.includes("hunter2"));
    });
  }
});
