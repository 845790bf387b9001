/** How the page looks and is reached, in real Chromium: places of columns, narrow windows, reasons, keyboard, HTTP/2. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Page } from "playwright-core";
import { REASONS } from "../../policy/reason.ts";
import { findBrowser, TestBrowser } from "../support/browser.ts";
import { DENIED, enter, linkOf, originOf, startApi, waitRows, write } from "../support/ui_stage.ts";

const CHROMIUM = findBrowser();
const ignore = CHROMIUM === undefined;
const startBrowser = () => TestBrowser.start(CHROMIUM ?? "");

const ALLOWED = { ...DENIED, verdict: "allow", reason: undefined, mode: undefined, status: 200 } as const;
const ORIGIN = { src: "10.0.0.5:40312", proxyPort: 3129, tls: "1.3" } as const;
const LONG = {
  ...DENIED,
  client: "c".repeat(64),
  host: `${"h".repeat(60)}.example.com`,
  path: `/${"p".repeat(500)}`,
  secret: "s".repeat(64),
  reason: "tls-upstream-parameters",
  sent: 999_999_999,
  received: 999_999_999,
  durationMs: 3_599_000,
  origin: { src: "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535", proxyPort: 65_535, tls: "1.2" },
} as const;

/** The left edges of the columns. */
async function columnsOf(page: Page): Promise<unknown> {
  return await page.evaluate(
    "[...document.querySelectorAll('th')].map((each) => Math.round(each.getBoundingClientRect().left))",
  );
}

Deno.test(
  { ignore, name: "columns keep their places, whatever comes, and say when and from where" },
  async () => {
    await using api = await startApi();
    await using browser = await startBrowser();
    const { page } = await browser.open([originOf(api)], { viewport: { width: 1_280, height: 800 } });
    await enter(page, await linkOf(api));
    const before = await columnsOf(page);
    await write(api, { ...ALLOWED, origin: ORIGIN, timeMs: Date.UTC(2026, 0, 2, 12) }, LONG);
    await waitRows(page, 2);
    assertEquals(await columnsOf(page), before);
    const row = await page.locator("#records tr").last().innerText();
    for (const part of ["2026-01-02", "10.0.0.5:40312", "→ 3129 TLS 1.3"]) assertStringIncludes(row, part);
    assertEquals(await page.evaluate("document.documentElement.scrollWidth"), 1_280);
  },
);

Deno.test(
  { ignore, name: "the chart is as wide as its place, though records come before the status" },
  async () => {
    await using api = await startApi();
    await write(api, DENIED);
    await using browser = await startBrowser();
    const { page } = await browser.open([originOf(api)], { viewport: { width: 1_280, height: 800 } });
    const late = Promise.withResolvers<void>();
    await page.route("**/proxy/v1/status", async (route) => {
      await late.promise;
      await route.continue();
    });
    await page.addInitScript("setInterval = () => 0"); // the chart's next step would be right anyhow
    await page.goto(await linkOf(api));
    await page.locator("#records tr").waitFor({ state: "attached" });
    late.resolve();
    await page.locator("#plot svg:not([width='240'])").waitFor();
  },
);

Deno.test({ ignore, name: "at 390 px nothing is cut, scrolls sideways or leaves a line empty" }, async () => {
  await using api = await startApi();
  await api.control.createClient("ci-1");
  await using browser = await startBrowser();
  const { page } = await browser.open([originOf(api)], { viewport: { width: 390, height: 800 } });
  await enter(page, await linkOf(api));
  await write(api, DENIED, { ...ALLOWED, origin: ORIGIN, durationMs: 5, sent: 1, received: 2 }, LONG);
  await waitRows(page, 3);
  assertEquals(await page.evaluate("document.documentElement.scrollWidth"), 390);
  const gaps = await page.evaluate(`[...document.querySelectorAll("#records tr")].map((row) => {
    // What of the row's height no text stands in: each line of a row must hold some.
    const cells = [...row.cells].map((cell) => cell.getBoundingClientRect()).filter(({ height }) => height > 0);
    cells.sort((a, b) => a.top - b.top);
    let end = cells[0].top, widest = 0;
    for (const { top, bottom } of cells) { widest = Math.max(widest, top - end); end = Math.max(end, bottom); }
    return Math.round(widest);
  })`);
  assert((gaps as number[]).every((gap) => gap < 8), `empty lines: ${gaps}`);
  const scrolled = await page.evaluate(
    "[...document.querySelectorAll('.scroll')].map((each) => each.scrollWidth - each.clientWidth)",
  );
  assertEquals(scrolled, [0, 0]);
  await page.getByRole("button", { name: /^Propose a rule/ }).last().click();
  await page.getByRole("dialog").getByText("No rule").or(page.getByText("Add this rule")).waitFor();
  assertEquals(await page.evaluate("document.querySelector('#proposal').scrollWidth <= 390"), true);
});

Deno.test({
  ignore,
  name: "reasons are explained to pointer, keyboard and screen reader, in the proxy's words",
}, async () => {
  await using api = await startApi();
  await write(api, DENIED, { ...DENIED, reason: "sni-mismatch" });
  await using browser = await startBrowser();
  const { page, complaints } = await browser.open([originOf(api)]);
  await enter(page, await linkOf(api));
  const tip = page.getByRole("tooltip");
  const sentence = (words: string) => `${words.slice(0, 1).toUpperCase()}${words.slice(1)}.`;
  const noRule = page.getByRole("button", { name: "no-rule" });
  const mismatch = page.getByRole("button", { name: "sni-mismatch" });

  await noRule.hover();
  assertEquals(await tip.innerText(), sentence(REASONS["no-rule"]));
  await tip.hover(); // it stays while it is read
  assertEquals(await tip.isVisible(), true);
  await page.mouse.move(1, 1);
  await tip.waitFor({ state: "hidden" });

  await mismatch.focus();
  assertEquals(await tip.innerText(), sentence(REASONS["sni-mismatch"]));
  const described = await mismatch.getAttribute("aria-describedby");
  assertEquals(await page.locator(`#${described}`).innerText(), sentence(REASONS["sni-mismatch"]));
  await page.keyboard.press("Escape");
  await tip.waitFor({ state: "hidden" });
  assertEquals(complaints, []);
});

Deno.test(
  { ignore, name: "everything is reached with the keyboard, and the records can be skipped" },
  async () => {
    await using api = await startApi();
    await api.control.createClient("ci-1");
    await write(api, ...Array.from({ length: 30 }, (_, i) => ({ ...DENIED, path: `/${i}` })));
    await using browser = await startBrowser();
    const { page } = await browser.open([originOf(api)]);
    await enter(page, await linkOf(api));
    await waitRows(page, 30);
    await page.getByRole("button", { name: "Pause" }).focus();
    await page.keyboard.press("Tab");
    await page.getByRole("link", { name: "Skip the records" }).waitFor();
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    assertMatch(String(await page.evaluate("document.activeElement.textContent")), /^ci-1/);
    const propose = page.getByRole("button", { name: "Propose a rule for GET api.example.com/7" });
    await propose.focus();
    await page.keyboard.press("Enter");
    await page.getByText("Add this rule").waitFor();
    assertEquals(await page.evaluate("document.activeElement.closest('dialog')?.id"), "proposal");
    await page.keyboard.press("Escape");
    assertEquals(await propose.evaluate("document.activeElement.textContent"), "Propose a rule");
  },
);

Deno.test({ ignore, name: "HTTP/2 and the end of a gRPC call are shown" }, async () => {
  await using api = await startApi();
  const call = { ...ALLOWED, method: "POST", path: "/a.Search/Query", proto: "h2" } as const;
  await write(
    api,
    { ...call, grpcStatus: 7 },
    { ...call, grpcStatus: 99 },
    { ...call, path: "/h2" },
    ALLOWED,
  );
  await using browser = await startBrowser();
  const { page } = await browser.open([originOf(api)]);
  await enter(page, await linkOf(api));
  await waitRows(page, 4);
  const outcomes = (await page.locator("#records .outcome").allInnerTexts()).map((each) => each.split("\n"));
  assertEquals(outcomes, [["200"], ["200", "h2"], ["200", "h2", "gRPC 99"], [
    "200",
    "h2",
    "gRPC 7 PERMISSION_DENIED",
  ]]);
});
