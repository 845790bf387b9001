import { assertEquals, assertThrows } from "@std/assert";
import { isProxyError, ProxyError } from "../../../../core/errors.ts";
import { type CallbackListener, listenForCallback } from "../../../../cli/oauth/callback.ts";

const ORIGIN = "https://accounts.x.ai";

function listen(port = 0): { listener: CallbackListener; foreign: () => number } {
  let count = 0;
  const listener = listenForCallback({
    port,
    state: "our-state",
    issuer: "https://auth.x.ai",
    allowedOrigin: ORIGIN,
    onForeign: () => void count++,
  });
  return { listener, foreign: () => count };
}

Deno.test("listenForCallback() answers every request with a fixed text", async (t) => {
  const { listener, foreign } = listen();
  await using _ = listener;
  const rows: readonly [name: string, method: string, path: string, status: number, text: string][] = [
    ["another path", "GET", "/", 404, "Not found.\n"],
    ["another path below", "GET", "/callback/x?code=1&state=our-state", 404, "Not found.\n"],
    ["another method", "POST", "?code=1&state=our-state", 405, "Only GET.\n"],
    ["no answer", "GET", "", 400, "This address holds no answer of a login.\n"],
    [
      "another state",
      "GET",
      "?code=<script>&state=x",
      400,
      "This answer belongs to another login. Open the address in the terminal once more.\n",
    ],
    [
      "another state again",
      "GET",
      "?error=x&state=x",
      400,
      "This answer belongs to another login. Open the address in the terminal once more.\n",
    ],
    [
      "our refusal",
      "GET",
      "?error=<script>&state=our-state",
      200,
      "The login was refused. You can close this page and go back to the terminal.\n",
    ],
    [
      "our code",
      "GET",
      "?code=abc&state=our-state",
      200,
      "The answer has arrived. You can close this page and go back to the terminal.\n",
    ],
  ];
  for (const [name, method, path, status, text] of rows) {
    await t.step(name, async () => {
      const base = path.startsWith("/") ? new URL(listener.redirectUri).origin : listener.redirectUri;
      const response = await fetch(`${base}${path}`, { method });
      const { headers } = response;
      assertEquals([response.status, await response.text()], [status, text]);
      assertEquals(headers.get("content-type"), "text/plain; charset=utf-8");
      assertEquals(headers.get("cache-control"), "no-store");
      assertEquals(headers.get("referrer-policy"), "no-referrer");
      assertEquals(headers.get("access-control-allow-origin"), null);
    });
  }
  assertEquals(foreign(), 1);
  assertEquals(Object.fromEntries(await listener.answer), { error: "<script>", state: "our-state" });
});

Deno.test("listenForCallback() lets only the consent page call by fetch", async (t) => {
  const { listener } = listen();
  await using _ = listener;
  const rows: readonly [origin: string, allowed: string | null][] = [
    [ORIGIN, ORIGIN],
    ["https://evil.example", null],
    [`${ORIGIN}.evil.example`, null],
  ];
  for (const [origin, allowed] of rows) {
    await t.step(origin, async () => {
      const response = await fetch(listener.redirectUri, {
        method: "OPTIONS",
        headers: {
          origin,
          "access-control-request-method": "GET",
          "access-control-request-private-network": "true",
        },
      });
      const { headers, status } = response;
      assertEquals([status, await response.text()], [204, ""]);
      assertEquals(headers.get("access-control-allow-origin"), allowed);
      assertEquals(headers.get("access-control-allow-methods"), allowed && "GET, OPTIONS");
      assertEquals(headers.get("access-control-allow-private-network"), allowed && "true");
    });
  }
});

Deno.test("listenForCallback() frees its port, with a half request open", async () => {
  const { listener } = listen();
  const port = Number(new URL(listener.redirectUri).port);
  using stuck = await Deno.connect({ hostname: "127.0.0.1", port });
  await stuck.write(new TextEncoder().encode("GET /callback HTTP/1.1\r\nHo"));
  await listener[Symbol.asyncDispose]();
  await using _ = listen(port).listener;
});

Deno.test("listenForCallback() says --port when the port is in use", () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const error = assertThrows(() => listen(taken.addr.port), ProxyError, "the port is in use");
  assertEquals([isProxyError(error, "listen.failed"), error.hint?.includes("--port")], [true, true]);
});
