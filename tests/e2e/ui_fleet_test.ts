/** The page's panel of the fleet, in real Chromium: none for a host alone, and what hosts call themselves is text. */
import { assertEquals, assertMatch } from "@std/assert";
import { findBrowser, TestBrowser } from "../support/browser.ts";
import { linkOf, originOf, startApi } from "../support/ui_stage.ts";
import { REPORT } from "../unit/api/support.ts";

const CHROMIUM = findBrowser();

Deno.test({
  ignore: CHROMIUM === undefined,
  name: "the fleet is shown as text, who needs a hand first, and goes when there is none",
  fn: async () => {
    let fleet = REPORT.fleet;
    if (!fleet) throw new Error("the report has no fleet");
    const hostile = `<img src=x onerror=document.title="p"> \u202e${"x".repeat(40)}`;
    const hosts = fleet.roster.hosts.map((host, i) => i === 1 ? { ...host, name: hostile } : host);
    fleet = { ...fleet, roster: { ...fleet.roster, hosts } };
    await using api = await startApi(() => fleet);
    await using browser = await TestBrowser.start(CHROMIUM ?? "");
    const { page, complaints } = await browser.open([originOf(api)], {
      viewport: { width: 390, height: 800 },
    });
    await page.goto(await linkOf(api));
    await page.locator("#fleet li").nth(2).waitFor();
    const lines = await page.locator("#fleet li").allInnerTexts();
    assertEquals(lines.map((line) => /host-3|<img|host-1/.exec(line)?.[0]), ["host-3", "<img", "host-1"]);
    assertMatch(lines[0] ?? "", /denies · 84 tunnels · 84 denied$/);
    assertEquals(lines.some((line) => line.includes("\u202e")), false);
    assertMatch(
      await page.locator("#fleet-note").innerText(),
      /^its store is away for .*: no change is taken$/,
    );
    assertEquals(await page.evaluate("document.documentElement.scrollWidth"), 390);
    fleet = undefined;
    await page.locator("#fleet").waitFor({ state: "hidden" });
    assertEquals(complaints, []);
  },
});
