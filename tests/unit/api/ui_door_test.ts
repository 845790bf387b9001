/** Who gets to the API from a browser, asked over a real connection. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { SESSION_MS } from "../../../api/ui_sessions.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { makeRecord } from "../../support/make_record.ts";
import { proxyAuthority } from "../../support/test_authority.ts";
import { type Answer, type CallOptions, exchange, TestApi } from "./support.ts";

const NO_TOKEN = { authorization: "" };

/** The path and query of a new link. */
async function newLink(api: TestApi, query = ""): Promise<string> {
  const answer = await api.call(`/proxy/v1/ui/links${query}`, { method: "POST" });
  assertEquals(answer.status, 201, answer.text);
  const { origin, pathname, search } = new URL(JSON.parse(answer.text).url);
  assertEquals(origin, `http://127.0.0.1:${api.address.port}`);
  return pathname + search;
}

/** What a browser has after a link: the cookie as it sends it, and the page's key. */
async function logIn(
  api: TestApi,
  query = "",
): Promise<{ readonly cookie: string; readonly key: string }> {
  const answer = await api.callTcp(await newLink(api, query), { headers: NO_TOKEN });
  assertEquals(answer.status, 303);
  return {
    cookie: answer.headers["set-cookie"]?.split(";")[0] ?? "",
    key: answer.headers["location"]?.split("#key=")[1] ?? "",
  };
}

/** A call as the page makes it, less what `headers` empty. */
async function fromPage(
  api: TestApi,
  { cookie, key }: { readonly cookie: string; readonly key: string },
  path: string,
  { headers, ...options }: CallOptions = {},
): Promise<Answer> {
  const isWrite = options.body !== undefined || options.method !== undefined;
  const sent = {
    ...NO_TOKEN,
    cookie,
    "x-slicer-proxy-ui": key,
    "sec-fetch-site": "same-origin",
    ...(isWrite ? { origin: `http://127.0.0.1:${api.address.port}` } : {}),
  };
  return await api.callTcp(path, { ...options, headers: { ...sent, ...headers } });
}

Deno.test("a link opens a session once, with a strict cookie and a key that is in no request", async () => {
  await using api = await TestApi.start({ tcp: {} });
  const link = await newLink(api);
  const answer = await api.callTcp(link, { headers: NO_TOKEN });
  assertEquals([answer.status, answer.text], [303, ""]);
  const { port } = api.address;
  assertMatch(
    answer.headers["set-cookie"] ?? "",
    new RegExp(`^slicer_proxy_ui_${port}=[\\w-]{43}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict$`),
  );
  assertMatch(answer.headers["location"] ?? "", /^\/ui\/#key=[\w-]{43}$/);
  assertEquals(answer.headers["cache-control"], "no-store");
  assertEquals(answer.headers["referrer-policy"], "no-referrer");

  const again = await api.callTcp(link, { headers: NO_TOKEN });
  assertEquals([again.status, again.headers["set-cookie"]], [403, undefined]);
  assertStringIncludes(again.text, "slicer-proxy ui");
  assertMatch(again.headers["content-security-policy"] ?? "", /^default-src 'none'; /);
});

Deno.test("a link is spent by GET under our own name and by nothing else", async () => {
  await using api = await TestApi.start({ tcp: {} });
  const link = await newLink(api);
  const own = `http://127.0.0.1:${api.address.port}`;
  const rows: [name: string, options: CallOptions, status: number][] = [
    ["HEAD", { method: "HEAD" }, 405],
    ["POST", { method: "POST" }, 401],
    ["POST of our own origin", { method: "POST", headers: { origin: own } }, 401],
    ["another Host", { headers: { host: `evil.example:${api.address.port}` } }, 421],
    ["another Origin", { headers: { origin: "http://evil.example" } }, 403],
    ["a wrong token beside it", { headers: { authorization: "Bearer wrong" } }, 401],
  ];
  for (const [name, options, status] of rows) {
    const answer = await api.callTcp(link, { ...options, headers: { ...NO_TOKEN, ...options.headers } });
    assertEquals([answer.status, answer.headers["set-cookie"]], [status, undefined], name);
  }
  assertEquals((await api.callTcp(link, { headers: NO_TOKEN })).status, 303);
});

Deno.test("wrong codes are answered, then bounded, and keep no right one out", async () => {
  await using api = await TestApi.start({ tcp: {} });
  const link = await newLink(api);
  const statuses = [];
  for (let i = 0; i < 40; i++) {
    const code = i % 2 === 0 ? "" : `?code=${"x".repeat(i)}`;
    const answer = await api.callTcp(`/ui/login${code}`, { headers: NO_TOKEN });
    statuses.push(answer.status);
    assertEquals(answer.headers["retry-after"], answer.status === 429 ? "60" : undefined);
  }
  assertEquals(statuses, [...Array<number>(30).fill(403), ...Array<number>(10).fill(429)]);
  assertEquals((await api.callTcp(link, { headers: NO_TOKEN })).status, 303);
});

Deno.test("a session is let in with its cookie and its key, and with nothing less", async (t) => {
  await using api = await TestApi.start({ tcp: {} });
  const session = await logIn(api);
  const other = await logIn(api);
  const { port } = api.address;
  const value = session.cookie.split("=")[1] ?? "";
  const rows: [name: string, headers: Record<string, string>, status: number][] = [
    ["both", {}, 200],
    ["an older browser", { "sec-fetch-site": "" }, 200],
    ["among other cookies", { cookie: `a=b; ${session.cookie}; c=d` }, 200],
    ["behind one that somebody else set", { cookie: `slicer_proxy_ui_${port}=x; ${session.cookie}` }, 200],
    ["behind a few of them", { cookie: `${"slicer_proxy_ui_" + port}=x; `.repeat(4) + session.cookie }, 401],
    ["cookie alone", { "x-slicer-proxy-ui": "" }, 401],
    ["cookie and no key", { "x-slicer-proxy-ui": "1" }, 401],
    ["cookie and another session's key", { "x-slicer-proxy-ui": other.key }, 401],
    ["key alone", { cookie: "" }, 401],
    ["key as cookie", { cookie: `slicer_proxy_ui_${port}=${session.key}` }, 401],
    ["the cookie of another port", { cookie: `slicer_proxy_ui_1=${value}` }, 401],
    ["of a page of the same site", { "sec-fetch-site": "same-site" }, 403],
    ["of another site's page", { "sec-fetch-site": "cross-site" }, 403],
    ["typed into the address", { "sec-fetch-site": "none" }, 403],
    ["of another origin", { origin: `http://localhost:${port}` }, 403],
    ["under another name", { host: `evil.example:${port}` }, 421],
    ["with a wrong token", { authorization: "Bearer wrong" }, 401],
    ["as token", { cookie: "", authorization: `Bearer ${session.key}` }, 401],
  ];
  for (const [name, headers, status] of rows) {
    await t.step(name, async () => {
      const answer = await fromPage(api, session, "/proxy/v1/clients", { headers });
      assertEquals(answer.status, status, answer.text);
      assertEquals(answer.text.includes(value) || answer.text.includes(session.key), false);
    });
  }
});

Deno.test("a session changes only what its page does, and only from its own origin", async (t) => {
  await using api = await TestApi.start({ tcp: {} });
  await api.control.createClient("c");
  const session = await logIn(api);
  const rule = { client: "c", host: "x.example" };
  const rows: [name: string, path: string, options: CallOptions, status: number][] = [
    ["a rule, no Origin and an old browser", "/proxy/v1/allows", {
      body: rule,
      headers: { origin: "", "sec-fetch-site": "" },
    }, 403],
    ["a rule, from another port", "/proxy/v1/allows", {
      body: rule,
      headers: { origin: "http://127.0.0.1:1", "sec-fetch-site": "same-site" },
    }, 403],
    ["a rule, Origin null", "/proxy/v1/allows", { body: rule, headers: { origin: "null" } }, 403],
    [
      "a rule, without the header",
      "/proxy/v1/allows",
      { body: rule, headers: { "x-slicer-proxy-ui": "" } },
      401,
    ],
    ["a rule, as a form would send it", "/proxy/v1/allows", {
      method: "POST",
      body: JSON.stringify(rule),
      headers: { "content-type": "text/plain" },
    }, 415],
    ["a rule, before others", "/proxy/v1/allows", { body: { ...rule, before: 1 } }, 403],
    ["a rule, no Origin", "/proxy/v1/allows", { body: rule, headers: { origin: "" } }, 201],
    ["the same, by an old browser", "/proxy/v1/allows", {
      body: { ...rule, host: "y.example" },
      headers: { "sec-fetch-site": "" },
    }, 201],
    [
      "the mode",
      "/proxy/v1/mode",
      { method: "PUT", body: { client: "c", mode: "audit", ttl_seconds: 9 } },
      200,
    ],
    ["the mode, from another port", "/proxy/v1/mode", {
      method: "PUT",
      body: { mode: "audit" },
      headers: { origin: "http://127.0.0.1:1", "sec-fetch-site": "same-site" },
    }, 403],
    ["revoke", "/proxy/v1/allows/revoke", { body: rule }, 403],
    ["revoke a host", "/proxy/v1/allows/c/x.example", { method: "DELETE" }, 403],
    ["a client", "/proxy/v1/clients", { body: { name: "d" } }, 403],
    ["rotate", "/proxy/v1/clients/c/rotate", { method: "POST" }, 403],
    ["a secret", "/proxy/v1/secrets", { body: { name: "s", host: "x.example", value: "v" } }, 403],
    ["a further link", "/proxy/v1/ui/links", { method: "POST" }, 403],
    ["DELETE of what may be posted", "/proxy/v1/allows", { method: "DELETE" }, 403],
    ["a path that only looks like it", "/proxy/v1/allows/", { body: rule }, 403],
    ["and a way around", "/ui/../proxy/v1/clients", { body: { name: "d" } }, 403],
  ];
  for (const [name, path, options, status] of rows) {
    await t.step(name, async () => {
      const answer = await fromPage(api, session, path, options);
      assertEquals(answer.status, status, answer.text);
    });
  }
  assertEquals(api.control.listRules("c").map(({ host }) => host), ["x.example", "y.example"]);
  assertEquals(api.control.listClients().map(({ name }) => name), ["c"]);
});

Deno.test("a session that may manage revokes a rule, and does nothing else that others may not", async (t) => {
  await using api = await TestApi.start({ tcp: {} });
  await api.control.createClient("c");
  const usual = await logIn(api, "?manage=0");
  const managing = await logIn(api, "?manage=1");
  const rights = async (session: typeof usual) =>
    /\{.*\}/.exec((await fromPage(api, session, "/ui/session")).text)?.[0];
  assertEquals([await rights(usual), await rights(managing)], [
    '{"may_manage":false}',
    '{"may_manage":true}',
  ]);
  assertEquals((await api.callTcp("/ui/session", { headers: NO_TOKEN })).status, 401);
  assertEquals((await api.callTcp("/ui/session")).status, 404, "the token has no session");

  const rule = { client: "c", host: "x.example" };
  const revoke = "/proxy/v1/allows/revoke";
  const rows: [name: string, session: typeof usual, path: string, options: CallOptions, status: number][] = [
    ["a rule", managing, "/proxy/v1/allows", { body: rule }, 201],
    ["suspend, by another", usual, "/proxy/v1/clients/c/suspend", { method: "POST" }, 403],
    ["suspend all", managing, "/proxy/v1/suspensions/all", { method: "POST" }, 403],
    ["suspend", managing, "/proxy/v1/clients/c/suspend", { method: "POST" }, 204],
    ["resume, by another", usual, "/proxy/v1/clients/c/resume", { method: "POST" }, 403],
    ["resume", managing, "/proxy/v1/clients/c/resume", { method: "POST" }, 204],
    ["approve, by another", usual, "/proxy/v1/requests/x/approve", { body: { always: true } }, 403],
    ["deny, by another", usual, "/proxy/v1/requests/x/deny", { method: "POST" }, 403],
    ["approve what does not wait", managing, "/proxy/v1/requests/x/approve", { body: {} }, 404],
    ["deny what does not wait", managing, "/proxy/v1/requests/x/deny", { method: "POST" }, 404],
    ["a budget", managing, "/proxy/v1/clients/c/budget", { method: "PUT", body: { budget: [] } }, 403],
    ["rotate", managing, "/proxy/v1/clients/c/rotate", { method: "POST" }, 403],
    ["a profile", managing, "/proxy/v1/allows/profile", { body: { client: "c", profile: "npm" } }, 403],
    ["a rule's place", managing, "/proxy/v1/allows/move", { body: { client: "c", from: 1 } }, 403],
    ["a test of a secret", managing, "/proxy/v1/secrets/s/test", { body: {} }, 403],
    ["a policy", managing, "/proxy/v1/policy/apply", { body: { policy: "" } }, 403],
    ["resume all", managing, "/proxy/v1/suspensions/all", { method: "DELETE" }, 403],
    ["revoke, by another", usual, revoke, { body: rule }, 403],
    ["revoke, with the key of another", { ...managing, key: usual.key }, revoke, { body: rule }, 401],
    ["revoke, from another port", managing, revoke, {
      body: rule,
      headers: { origin: "http://127.0.0.1:1", "sec-fetch-site": "same-site" },
    }, 403],
    ["revoke all of a host", managing, "/proxy/v1/allows/c/x.example", { method: "DELETE" }, 403],
    ["a client", managing, "/proxy/v1/clients", { body: { name: "d" } }, 403],
    ["delete a client", managing, "/proxy/v1/clients/c", { method: "DELETE" }, 403],
    ["a secret", managing, "/proxy/v1/secrets", { body: { name: "s", host: "x.example", value: "v" } }, 403],
    ["a further link", managing, "/proxy/v1/ui/links?manage=1", { method: "POST" }, 403],
    ["revoke", managing, revoke, { body: rule }, 204],
  ];
  for (const [name, session, path, options, status] of rows) {
    await t.step(name, async () => {
      assertEquals((await fromPage(api, session, path, options)).status, status);
    });
  }
  assertEquals(api.control.listRules("c"), []);
  assertEquals(api.control.listClients().map(({ name }) => name), ["c"]);
});

Deno.test("a session ends when it logs out, and after its time", async () => {
  const clock = new FakeClock();
  await using api = await TestApi.start({ tcp: {}, clock });
  const [session, other] = [await logIn(api), await logIn(api)];
  const isIn = async (who: typeof session) => (await fromPage(api, who, "/proxy/v1/status")).status === 200;
  assertEquals((await fromPage(api, session, "/ui/logout")).status, 405);
  const forged = { method: "POST", headers: { origin: "http://evil.example" } };
  assertEquals((await fromPage(api, session, "/ui/logout", forged)).status, 403);
  assert(await isIn(session));
  const answer = await fromPage(api, session, "/ui/logout", { method: "POST" });
  assertEquals(answer.status, 204);
  assertMatch(answer.headers["set-cookie"] ?? "", /^slicer_proxy_ui_\d+=; Path=\/; Max-Age=0; /);
  assertEquals([await isIn(session), await isIn(other)], [false, true]);
  clock.advance(SESSION_MS);
  assertEquals(await isIn(other), false);
});

Deno.test("a stream ends with the session that it was opened in, and nothing later is in it", async (t) => {
  const clock = new FakeClock();
  await using api = await TestApi.start({ tcp: {}, clock });
  const rows: [name: string, end: (session: { cookie: string; key: string }) => unknown][] = [
    ["logged out", (session) => fromPage(api, session, "/ui/logout", { method: "POST" })],
    ["out of time", () => clock.advance(SESSION_MS)],
  ];
  for (const [name, end] of rows) {
    await t.step(name, async () => {
      const session = await logIn(api);
      const url = `http://127.0.0.1:${api.address.port}/proxy/v1/audit?follow=1`;
      const answer = await fetch(url, {
        headers: { cookie: session.cookie, "x-slicer-proxy-ui": session.key },
      });
      const reader = (answer.body ?? ReadableStream.from([])).pipeThrough(new TextDecoderStream())
        .getReader();
      await api.audit.write([makeRecord(1)]);
      assertStringIncludes((await reader.read()).value ?? "", '"port":1}');
      await end(session);
      await api.audit.write([makeRecord(2)]);
      assertEquals((await reader.read()).done, true);
    });
  }
});

Deno.test("a browser at the address of the API is shown to the page; a program is not", async () => {
  await using api = await TestApi.start({ tcp: {} });
  const accept = "text/html,application/xhtml+xml,*/*;q=0.8";
  const answer = await api.callTcp("/", { headers: { ...NO_TOKEN, accept } });
  assertEquals([answer.status, answer.headers["location"], answer.text], [303, "/ui/", ""]);
  assertEquals((await api.callTcp("/", { headers: { ...NO_TOKEN, accept: "*/*" } })).status, 401);
  assertEquals((await api.callTcp("/proxy/v1/status", { headers: { ...NO_TOKEN, accept } })).status, 401);
});

Deno.test("without a session the page and its files are there, and nothing else", async (t) => {
  await using api = await TestApi.start({ tcp: {} });
  const { port } = api.address;
  const rows: [path: string, status: number, type: string][] = [
    ["/ui/", 200, "text/html; charset=utf-8"],
    ["/ui/page.css", 200, "text/css; charset=utf-8"],
    ["/ui/main.js", 200, "text/javascript; charset=utf-8"],
    ["/ui/icon.svg", 200, "image/svg+xml"],
    ["/ui", 308, ""],
    ["/ui/nothing.js", 404, "text/plain; charset=utf-8"],
    ["/ui/../proxy/v1/clients", 404, "text/plain; charset=utf-8"],
    ["/ui/%2e%2e/proxy/v1/clients", 404, "text/plain; charset=utf-8"],
    ["/uix", 401, "text/plain; charset=utf-8"],
    ["/UI/", 401, "text/plain; charset=utf-8"],
    ["/", 401, "text/plain; charset=utf-8"],
    ["/proxy/v1/status", 401, "text/plain; charset=utf-8"],
    ["/proxy/v1/status#/ui/", 401, "text/plain; charset=utf-8"],
    ["/proxy/v1/status?/ui/", 401, "text/plain; charset=utf-8"],
    ["/metrics", 401, "text/plain; charset=utf-8"],
  ];
  for (const [path, status, type] of rows) {
    await t.step(path, async () => {
      const answer = await api.callTcp(path, { headers: NO_TOKEN });
      assertEquals([answer.status, answer.headers["content-type"] ?? ""], [status, type]);
      if (status === 401) return;
      const { headers } = answer;
      assertEquals(
        [
          headers["content-security-policy"],
          headers["x-frame-options"],
          headers["x-content-type-options"],
          headers["referrer-policy"],
          headers["cross-origin-opener-policy"],
          headers["cross-origin-resource-policy"],
          headers["cache-control"],
        ],
        [
          "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
          "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
          "DENY",
          "nosniff",
          "no-referrer",
          "same-origin",
          "same-origin",
          "no-store",
        ],
      );
      assertEquals(
        (await api.callTcp(path, { headers: { ...NO_TOKEN, host: `evil.example:${port}` } })).status,
        421,
      );
      assertEquals(
        (await api.callTcp(path, { headers: { ...NO_TOKEN, origin: "http://evil.example" } })).status,
        403,
      );
    });
  }
});

Deno.test("on the unix socket there is no page, and a cookie means nothing", async () => {
  await using api = await TestApi.start({ tcp: {} });
  const { cookie, key } = await logIn(api);
  for (const path of ["/ui/", "/ui/login?code=x", "/ui/main.js"]) {
    const answer = await api.call(path, { headers: { cookie, "x-slicer-proxy-ui": key } });
    assertEquals([answer.status, answer.headers["set-cookie"]], [404, undefined]);
  }
});

Deno.test("with TLS the cookie is secure and of this host alone", async () => {
  const { certPem, keyPem } = await (await proxyAuthority()).issue(["127.0.0.1"]);
  await using api = await TestApi.start({ tcp: { tls: { cert: certPem, key: keyPem } } });
  const { port } = api.address;
  const call = async (path: string, headers: Record<string, string>) => {
    const connection = await Deno.connect(api.address);
    const caCerts = [(await proxyAuthority()).caPem];
    const tls = await Deno.startTls(connection, { hostname: "127.0.0.1", caCerts });
    return await exchange(tls, path, { headers: { host: `127.0.0.1:${port}`, ...headers } });
  };
  const { url } = JSON.parse((await api.call("/proxy/v1/ui/links", { method: "POST" })).text);
  assert(url.startsWith(`https://127.0.0.1:${port}/ui/login?code=`), url);
  const answer = await call(url.slice(url.indexOf("/ui/")), {});
  const set = answer.headers["set-cookie"] ?? "";
  assertMatch(
    set,
    /^__Host-slicer_proxy_ui_\d+=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure$/,
  );
  const session = {
    cookie: set.split(";")[0] ?? "",
    "x-slicer-proxy-ui": answer.headers["location"]?.split("#key=")[1] ?? "",
  };
  assertEquals((await call("/proxy/v1/clients", session)).status, 200);
  assertEquals((await call("/proxy/v1/clients", { ...session, cookie: "" })).status, 401);
});
