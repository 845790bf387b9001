/** Who gets to the web page, in real Chromium: the program as a process, other sites, and other ports of loopback. */
import { assertEquals, assertMatch } from "@std/assert";
import { findBrowser, TestBrowser } from "../support/browser.ts";
import { freePorts, Program } from "../support/program.ts";
import { basic, dialRaw } from "../support/raw_peer.ts";
import { proxyAuthority } from "../support/test_authority.ts";
import { DENIED, enter, linkOf, originOf, startApi, waitRows, write } from "../support/ui_stage.ts";
import { TestApi } from "../unit/api/support.ts";

const CHROMIUM = findBrowser();
const ignore = CHROMIUM === undefined;
const startBrowser = () => TestBrowser.start(CHROMIUM ?? "");

Deno.test({ ignore, name: "the page of the program: in by its link, live, and out again" }, async () => {
  const dir = await Deno.makeTempDir();
  {
    const program = new Program(dir);
    const [apiPort] = freePorts();
    const origin = `http://127.0.0.1:${apiPort}`;
    await using daemon = await program.up(["--mode=audit", "--api-bind", `127.0.0.1:${apiPort}`]);
    const token = await program.ok(["client", "create", "ci-1"]);
    const get = async (path: string) => {
      using peer = await dialRaw(daemon.httpPort);
      await peer.send(
        `GET http://api.example.com${path} HTTP/1.1\r\nHost: api.example.com\r\n` +
          `Proxy-Authorization: ${basic(token)}\r\n\r\n`,
      );
      return (await peer.readResponse()).status;
    };
    assertEquals(await get("/earlier"), 403);
    await daemon.waitLine(/path=\/earlier /);

    await using browser = await startBrowser();
    const { page, complaints } = await browser.open([origin]);
    const link = await program.ok(["ui"]);
    await enter(page, link);
    assertEquals([page.url(), await page.evaluate("document.cookie")], [`${origin}/ui/`, ""]);
    const [cookie] = await page.context().cookies();
    assertEquals([cookie?.httpOnly, cookie?.sameSite, cookie?.domain, cookie?.secure], [
      true,
      "Strict",
      "127.0.0.1",
      false,
    ]);
    assertMatch(await page.locator("#status").innerText(), /mode\s+audit/);
    await page.locator("#client-list summary", { hasText: "ci-1" }).waitFor();
    await page.locator("#records tr", { hasText: "/earlier" }).waitFor();

    assertEquals(await get("/now/'\"%3Cscript%3E;$(x)"), 403);
    await page.locator("#records tr", { hasText: "/now/'\"%3Cscript%3E;$(x)" }).waitFor();
    await page.locator("#legend", { hasText: "denied 2" }).waitFor();
    await program.ok(["allow", "ci-1", "--host", "api.example.com", "--path", "/v1/*", "--ttl", "1h"]);
    await page.getByText(/^59m \d+s left$/).waitFor();

    await page.reload();
    await page.locator("#connection", { hasText: /^live$/ }).waitFor();
    const second = await page.context().newPage();
    await second.goto(`${origin}/ui/`);
    await second.locator("#connection", { hasText: /^live$/ }).waitFor();
    await second.close();
    assertEquals(complaints, []);

    const stranger = await browser.open([origin]);
    assertEquals((await stranger.page.goto(link))?.status(), 403);
    await stranger.page.getByText("It has been used").waitFor();
    assertEquals(await stranger.page.context().cookies(), []);
    await stranger.page.goto(`${origin}/ui/`);
    await stranger.page.getByText("This page opens with a link.").waitFor();
    assertEquals(await stranger.page.locator("#signed-in").isVisible(), false);

    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByText("You have logged out.").waitFor();
    assertEquals(await page.context().cookies(), []);
    await page.reload();
    await page.getByText("This page opens with a link.").waitFor();
    assertEquals(complaints, []);
  }
  await Deno.remove(dir, { recursive: true });
});

Deno.test(
  { ignore, name: "a link works from another site's page too, and a lost session says so" },
  async () => {
    await using api = await startApi();
    const origin = originOf(api);
    const link = await linkOf(api);
    const html = `<!DOCTYPE html><a href="${link}">in</a>`;
    await using site = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      () => new Response(html, { headers: { "content-type": "text/html" } }),
    );
    const elsewhere = `http://localhost:${site.addr.port}`; // not the same site as 127.0.0.1
    await using browser = await startBrowser();
    const { page, complaints } = await browser.open([origin, elsewhere]);
    await page.goto(elsewhere);
    await page.getByText("in").click();
    await page.locator("#connection", { hasText: /^live$/ }).waitFor();
    assertEquals(complaints.filter((each) => !each.includes("favicon")), []);
    await page.context().clearCookies();
    await page.getByText("Your session has ended").waitFor();
    await page.getByText("slicer-proxy ui", { exact: true }).waitFor();
  },
);

Deno.test(
  { ignore, name: "a page on another port of loopback gets nothing and changes nothing" },
  async () => {
    await using api = await startApi();
    await api.control.createClient("ci-1");
    const origin = originOf(api);
    const cookies: string[] = [];
    const attack = `
    const body = JSON.stringify({ client: "ci-1", host: "evil.example" });
    const tries = [
      fetch("${origin}/proxy/v1/clients", { credentials: "include" }),
      fetch("${origin}/proxy/v1/clients", { credentials: "include", mode: "no-cors" }),
      fetch("${origin}/proxy/v1/allows", { method: "POST", body, credentials: "include", mode: "no-cors" }),
      fetch("${origin}/proxy/v1/allows", { method: "POST", body, credentials: "include",
        headers: { "content-type": "application/json", "x-slicer-proxy-ui": "1" } }),
      import("${origin}/ui/main.js"),
      fetch("${origin}/ui/page.css", { mode: "no-cors" }),
    ];
    const seen = await Promise.all(tries.map((each) => each.then((r) => r.type ?? "loaded", () => "refused")));
    document.title = seen.join(" ");`;
    await using site = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
      cookies.push(request.headers.get("cookie") ?? "");
      const isScript = request.url.endsWith(".js");
      return new Response(
        isScript ? attack : `<!DOCTYPE html><script type="module" src="/attack.js"></script>`,
        {
          headers: { "content-type": isScript ? "text/javascript" : "text/html" },
        },
      );
    });
    await using browser = await startBrowser();
    const { page } = await browser.open([]);
    await page.goto(await linkOf(api));
    await page.locator("#connection", { hasText: /^live$/ }).waitFor();
    await page.goto(`http://127.0.0.1:${site.addr.port}/`);
    await page.waitForFunction("document.title !== ''");
    // An opaque answer is one that the page cannot read.
    assertEquals(await page.title(), "refused opaque opaque refused refused refused");
    assertEquals(api.control.listRules("ci-1"), []);
    // Browsers do hand the cookie to every port: alone it is worth nothing.
    const [stolen = ""] = cookies;
    assertMatch(stolen, /^slicer_proxy_ui_\d+=/);
    const replayed = { headers: { authorization: "", cookie: stolen } };
    assertEquals((await api.callTcp("/proxy/v1/clients", replayed)).status, 401);
  },
);

Deno.test(
  { ignore, name: "over TLS the cookie is bound to the host, and the page is the same" },
  async () => {
    const { certPem, keyPem } = await (await proxyAuthority()).issue(["127.0.0.1"]);
    await using api = await TestApi.start({ tcp: { tls: { cert: certPem, key: keyPem } } });
    await write(api, DENIED);
    await using browser = await startBrowser();
    const link = await linkOf(api);
    const { page, complaints } = await browser.open([new URL(link).origin], { ignoreHTTPSErrors: true });
    await enter(page, link);
    await waitRows(page, 1);
    const [cookie] = await page.context().cookies();
    assertEquals([cookie?.secure, cookie?.name], [true, `__Host-slicer_proxy_ui_${api.address.port}`]);
    assertEquals(complaints, []);
  },
);
