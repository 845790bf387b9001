import { assert, assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { openProviderHttp, type ProviderHttp } from "../../../../cli/oauth/http.ts";
import { type Answer, startOAuthProvider } from "../../../support/oauth_provider.ts";

function open(
  caCerts: readonly string[],
  timeoutMs = 15_000,
  signal = new AbortController().signal,
): ProviderHttp {
  return openProviderHttp({ caCerts, signal, timeoutMs });
}

function post(http: ProviderHttp, url: string): Promise<Response> {
  const body = new URLSearchParams({ code: "secret-code" });
  return http.fetch(url, { method: "POST", headers: { accept: "application/json" }, body });
}

Deno.test("openProviderHttp() hands on answers and refuses what is none", async (t) => {
  const body = (length: number) => () =>
    new Response("x".repeat(length), { headers: { "content-type": "a/b" } });
  const status = (code: number) => () => new Response("secret-body", { status: code });
  const rows: readonly [name: string, answer: Answer, outcome: string | number][] = [
    ["200", status(200), 200],
    ["400", status(400), 400],
    ["404", status(404), 404],
    ["an empty answer", () => new Response(null, { status: 204 }), 204],
    ["a redirect to itself", (_, url) => Response.redirect(url, 302), "upstream.malformed"],
    ["a redirect that keeps the body", (_, url) => Response.redirect(url, 308), "upstream.malformed"],
    ["429", status(429), "upstream.unreachable"],
    ["500", status(500), "upstream.unreachable"],
    ["503", status(503), "upstream.unreachable"],
    ["65,536 bytes", body(65_536), 200],
    ["65,537 bytes", body(65_537), "upstream.malformed"],
  ];
  for (const [name, answer, outcome] of rows) {
    await t.step(name, async () => {
      await using provider = await startOAuthProvider({ answers: { "/token": answer } });
      using http = open([provider.caPem]);
      const call = post(http, `${provider.issuer}/token`);
      if (typeof outcome === "number") {
        const response = await call;
        assertEquals(response.status, outcome);
        await response.text();
      } else {
        const error = await assertRejects(() => call, ProxyError);
        assertEquals(error.code, outcome);
        assert(!`${error.message} ${error.hint}`.includes("secret"), error.message);
      }
      assertEquals(provider.calls.map(({ form }) => form), [{ code: "secret-code" }]);
    });
  }
});

Deno.test("openProviderHttp() says why a provider cannot be reached", async (t) => {
  const { promise: asked, resolve: answer } = Promise.withResolvers<undefined>();
  await using provider = await startOAuthProvider({ answers: { "/slow": () => asked } });
  const { port } = new URL(provider.issuer);
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  closed.close();
  const rows: readonly [name: string, url: string, isTrusted: boolean, code: string, words: string][] = [
    ["an unknown CA", provider.issuer, false, "upstream.tls", "its certificate is not trusted"],
    [
      "another name",
      `https://localhost:${port}`,
      true,
      "upstream.tls",
      "its certificate is not valid for it",
    ],
    [
      "nobody there",
      `https://127.0.0.1:${closed.addr.port}`,
      true,
      "upstream.unreachable",
      "connection refused",
    ],
    ["no such name", "https://nobody.invalid", true, "upstream.unreachable", "there is no such host"],
    ["no answer in time", `${provider.issuer}/slow`, true, "upstream.timeout", "no answer in time"],
  ];
  for (const [name, url, isTrusted, code, words] of rows) {
    await t.step(name, async () => {
      using http = open(isTrusted ? [provider.caPem] : [], code === "upstream.timeout" ? 100 : 15_000);
      const error = await assertRejects(() => post(http, url), ProxyError, words);
      assertEquals(error.code, code);
    });
  }
  answer(undefined);
});

Deno.test("openProviderHttp() throws the reason of its signal", async () => {
  const abort = new AbortController();
  const stop = () => {
    abort.abort(new ProxyError("credential.unavailable", "Cannot log in: stopped"));
    return undefined;
  };
  await using provider = await startOAuthProvider({ answers: { "/hang": stop } });
  using http = open([provider.caPem], 15_000, abort.signal);
  await assertRejects(() => post(http, `${provider.issuer}/hang`), ProxyError, "Cannot log in: stopped");
});
