/** What the web page shows and does, in real Chromium, also with records that no proxy would write. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Page } from "playwright-core";
import type { StoredRecord } from "../../policy/audit_record.ts";
import { parseRule } from "../../policy/rule.ts";
import { findBrowser, TestBrowser } from "../support/browser.ts";
import { startForwarder } from "../support/forwarder.ts";
import { DENIED, enter, linkOf, originOf, startApi, waitRows, write } from "../support/ui_stage.ts";
import { TOKEN } from "../unit/api/support.ts";

const CHROMIUM = findBrowser();
const ignore = CHROMIUM === undefined;
const startBrowser = () => TestBrowser.start(CHROMIUM ?? "");

const HOSTILE = [
  "<img src=x onerror=alert(1)>",
  '"><script>alert(1)</script>',
  "javascript:alert(1)",
  "'-alert(1)-'",
  "&lt;b&gt;&#60;",
  "a\u202egpj.exe",
  "\u0000\u001b[2J\r\n",
  "{{constructor.constructor('alert(1)')()}}",
  "x".repeat(5_000),
];

/** The texts of the rows, newest first. */
async function rowsOf(page: Page): Promise<string[]> {
  return await page.locator("#records tr").allInnerTexts();
}

Deno.test({ ignore, name: "hostile records are text, and what is kept is bounded" }, async () => {
  await using api = await startApi();
  await api.control.createClient("ci-1");
  await using browser = await startBrowser();
  const { page, complaints } = await browser.open([originOf(api)]);
  await enter(page, await linkOf(api));
  for (const text of HOSTILE) {
    const record = {
      ...DENIED,
      client: text,
      method: text,
      host: text,
      path: text,
      query: text,
      secret: text,
      origin: { src: text },
    };
    await write(
      api,
      record,
      { ...record, verdict: "allow" },
      { ...record, reason: text, ruleOwner: text } as StoredRecord,
    );
  }
  await waitRows(page, HOSTILE.length * 3);
  const shown = (await rowsOf(page)).join("\n");
  for (const text of HOSTILE.slice(0, 5)) assertStringIncludes(shown, text);
  assertStringIncludes(shown, "a\\u{202e}gpj.exe");
  assertStringIncludes(shown, "\\u{0}\\u{1b}[2J\\u{d}\\u{a}");
  assert(shown.length < 30_000, "a long path is cut");
  const made = await page.evaluate(
    `[...new Set([...document.querySelectorAll("#records *")].map((e) => e.localName))]`,
  );
  assertEquals((made as string[]).sort(), ["b", "bdi", "button", "div", "small", "span", "td", "time", "tr"]);

  // The dialog has the same texts, and its title.
  await page.route(
    "**/suggestions",
    (route) => route.fulfill({ status: 404, body: `${HOSTILE[0]}\nhint: ${HOSTILE[1]}\n` }),
  );
  await page.getByRole("button", { name: /^Propose a rule/ }).first().click();
  await page.locator("dialog .error", { hasText: HOSTILE[0] ?? "" }).waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#proposal").waitFor({ state: "hidden" });
  assertEquals(complaints.filter((each) => !each.includes("404")), []);

  await write(api, ...Array.from({ length: 700 }, (_, i) => ({ ...DENIED, path: `/many/${i}` })));
  await page.locator("#records tr", { hasText: "/many/699" }).waitFor();
  const rows = await rowsOf(page);
  assertEquals(rows.length, 500);
  assertStringIncludes(rows[499] ?? "", "/many/200");
});

Deno.test(
  { ignore, name: "parent proxies and dead addresses are counted, and named by a title" },
  async () => {
    await using api = await startApi();
    await using browser = await startBrowser();
    const { page } = await browser.open([originOf(api)]);
    await enter(page, await linkOf(api));
    const rows = await page.locator("#status div").evaluateAll((all) =>
      all.map((each) => `${each.textContent} (${each.getAttribute("title")})`)
    );
    assert(rows.includes("parent proxies1 (http://proxy.corp:3128 for *)"), rows.join());
    assert(rows.includes("dead addresses1 (2001:db8::1 of up.test:443)"), rows.join());
  },
);

Deno.test({ ignore, name: "filters, pause and a cut connection" }, async () => {
  await using api = await startApi();
  for (const name of ["ci-1", "ci-2"]) await api.control.createClient(name);
  const far: Deno.Conn[] = [];
  let isCut = false;
  await using forwarder = startForwarder(async () => {
    if (isCut) throw new Error("cut");
    far.push(await Deno.connect(api.address));
    return far[far.length - 1] as Deno.Conn;
  });
  await using browser = await startBrowser();
  const { page } = await browser.open([originOf(api)]);
  await enter(page, (await linkOf(api)).replace(`:${api.address.port}/`, `:${forwarder.port}/`));
  const allowed = { ...DENIED, verdict: "allow", reason: undefined, status: 200 } as const;
  await write(api, { ...allowed, path: "/1" }, { ...DENIED, path: "/2" }, {
    ...allowed,
    client: "ci-2",
    host: "other.example",
    path: "/3",
  });
  const paths = async (...expected: string[]) => {
    await waitRows(page, expected.length);
    assertEquals(await page.locator("#records .path").allInnerTexts(), expected);
  };
  await paths("/3", "/2", "/1");
  await page.getByLabel("denied only").check();
  await paths("/2");
  await page.getByLabel("denied only").uncheck();
  await page.locator("#filter-client").selectOption("ci-2");
  await paths("/3");
  await page.locator("#filter-client").selectOption("");
  await page.locator("#filter-host").fill("API.");
  await paths("/2", "/1");
  await page.locator("#filter-host").fill("nothing");
  await page.getByText("No record of those that are kept here matches.").waitFor();
  await page.locator("#filter-host").fill("");
  await page.getByRole("button", { name: "Pause" }).click();
  await write(api, { ...DENIED, path: "/4" });
  await page.getByRole("button", { name: "Resume (1 new)" }).click();
  await paths("/4", "/3", "/2", "/1");

  // The chart counts what the table shows.
  const legend = async () => await page.locator("#legend b").allInnerTexts();
  assertEquals(await legend(), ["2", "0", "2"]);
  await page.locator("#filter-client").selectOption("ci-2");
  assertEquals(await legend(), ["1", "0", "0"]);
  await page.getByText("filtered", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Clear" }).click();
  assertEquals(await legend(), ["2", "0", "2"]);
  await paths("/4", "/3", "/2", "/1");

  // Behind `ssh -L` or not, a connection may go.
  isCut = true;
  for (const connection of far) connection.close();
  await page.getByText("connection lost, trying again").waitFor();
  await write(api, { ...DENIED, path: "/5" });
  isCut = false;
  await paths("/5", "/4", "/3", "/2", "/1"); // nothing twice, nothing lost
  await page.locator("#connection", { hasText: /^live$/ }).waitFor();
});

Deno.test({ ignore, name: "from a denial to a rule: shown first, then added" }, async (t) => {
  await using api = await startApi();
  const { control } = api;
  const secret = { name: "llm-key", host: "api.example.com", type: "bearer", value: "v", cleartext: false };
  await control.putSecret(secret, { force: false });
  await control.createClient("ci-1");
  const first = { host: "api.example.com", methods: ["PUT"], paths: ["/first"], secret: "llm-key" };
  await control.addRule("ci-1", parseRule(first));
  await write(
    api,
    { ...DENIED, repeated: 3 },
    { ...DENIED, method: "POST", path: "/it's/$(x)" },
    { ...DENIED, host: "git.example.com", path: "/acme/api.git/info/refs" },
    { ...DENIED, host: "pypi.org", path: "/simple/requests/" },
    { ...DENIED, host: "192.0.2.1", path: "/" },
    { ...DENIED, host: "meta.example.com", reason: "address-denied" },
    { ...DENIED, client: undefined },
  );
  await using browser = await startBrowser();
  const { page, complaints } = await browser.open([originOf(api)]);
  await enter(page, await linkOf(api));
  await waitRows(page, 7);
  const proposals = page.getByRole("button", { name: /^Propose a rule/ });
  assertEquals(await proposals.count(), 5, "only where a rule is what is missing");

  const open = async (request: string) => {
    await page.getByRole("button", { name: `Propose a rule for ${request}` }).click();
    return page.getByRole("dialog", { name: "A rule for ci-1" });
  };
  const rules = () =>
    control.listRules("ci-1").map(({ host, methods, paths }) => [host, ...methods, ...paths]);
  const model = ["api.example.com", "GET", "/v1/models"];

  await t.step("is shown, and nothing is added by cancelling", async () => {
    const dialog = await open("GET api.example.com/v1/models");
    await dialog.getByText("Add this rule").waitFor();
    const text = await dialog.innerText();
    assertMatch(text, /Host\s+api\.example\.com\s+Ports\s+80, 443\s+Methods\s+GET/);
    assertMatch(text, /GET was denied ×3/);
    assertStringIncludes(text, "no-rule: No allow rule of this client matches.");
    assertStringIncludes(text, "Other rules for this host inject llm-key; this one injects nothing");
    const command = "slicer-proxy allow ci-1 --host api.example.com --method";
    assertEquals(
      await dialog.locator("fieldset.chosen pre").innerText(),
      `${command} GET --path /v1/models --ttl 1h`,
    );
    const other = dialog.getByLabel("POST api.example.com /it's/$(x)");
    assertEquals(await other.isChecked(), false, "somebody else's wish is not chosen");
    await other.check();
    await dialog.getByLabel("To live for").selectOption("no end");
    assertEquals(await dialog.locator("fieldset.chosen pre").allInnerTexts(), [
      `${command} GET --path /v1/models`,
      `${command} POST --path '/it'\\''s/$(x)'`,
    ]);
    await dialog.getByRole("button", { name: "Add 2 rules" }).waitFor();
    await dialog.getByRole("button", { name: "Cancel" }).click();
    assertEquals(rules(), [["api.example.com", "PUT", "/first"]]);
  });

  await t.step("is added with its TTL, and appears", async () => {
    const dialog = await open("GET api.example.com/v1/models");
    await dialog.getByLabel("To live for").selectOption("15 minutes");
    await dialog.getByRole("button", { name: "Add this rule" }).click();
    await dialog.waitFor({ state: "hidden" });
    const item = page.locator("#client-list li.new");
    assertMatch(await item.innerText(), /^14m \d+s left\napi\.example\.com\nGET · \/v1\/models/);
    assertEquals(rules(), [["api.example.com", "PUT", "/first"], model]);
  });

  await t.step("offers what its program asks another host for, and does not choose it", async () => {
    const dialog = await open("GET pypi.org/simple/requests/");
    const files = dialog.getByLabel("GET files.pythonhosted.org /packages/*");
    assertEquals(await files.isChecked(), false);
    await files.check();
    await dialog.getByText("GET: pip asks for it next").waitFor();
    await page.keyboard.press("Escape");
  });

  await t.step("with what its program asks for next", async () => {
    const dialog = await open("GET git.example.com/acme/api.git/info/refs");
    await dialog.getByText("POST: git asks for it next").waitFor();
    await dialog.getByRole("button", { name: "Add 2 rules" }).click();
    await dialog.waitFor({ state: "hidden" });
    assertEquals(rules().slice(2), [
      ["git.example.com", "GET", "/acme/api.git/info/refs"],
      ["git.example.com", "POST", "/acme/api.git/git-upload-pack"],
    ]);
  });

  await t.step("without a proposal it says why", async () => {
    const dialog = await open("GET 192.0.2.1/");
    await dialog.getByText("No rule is proposed for this: rules for addresses are not suggested.").waitFor();
    await dialog.getByRole("button", { name: "Close" }).click();
  });
  assertEquals(complaints, []);

  await t.step("an error is shown as the API says it", async () => {
    const dialog = await open("POST api.example.com/it's/$(x)");
    await dialog.getByText("Add this rule").waitFor();
    await control.addRule(
      "ci-1",
      parseRule({ host: "api.example.com", methods: ["POST"], paths: ["/it's/$(x)"] }),
    );
    await dialog.getByRole("button", { name: "Add this rule" }).click();
    await dialog.getByText("has this rule already").waitFor();
  });
});

Deno.test(
  { ignore, name: "the page fits a narrow window, and is there without a token of its own" },
  async () => {
    await using api = await startApi();
    await api.control.createClient("c".repeat(64));
    await write(api, {
      ...DENIED,
      client: "c".repeat(64),
      host: "h".repeat(200),
      path: "/" + "p".repeat(500),
    });
    await using browser = await startBrowser();
    const { page, complaints } = await browser.open([originOf(api)], {
      viewport: { width: 360, height: 640 },
    });
    await page.goto(await linkOf(api));
    await page.locator("#records tr").waitFor();
    assertEquals(await page.evaluate("document.documentElement.scrollWidth"), 360);
    const html = await page.content();
    assertEquals(html.includes(TOKEN), false);
    assertEquals(complaints, []);
  },
);
