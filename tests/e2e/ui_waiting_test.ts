/** Requests that wait for a person, on the page, in real Chromium. */
import { assertEquals, assertMatch } from "@std/assert";
import { Approvals } from "../../cli/up/approvals.ts";
import { systemClock } from "../../core/clock.ts";
import { parseRule } from "../../policy/rule.ts";
import { AskBook } from "../../proxy/decide/ask_book.ts";
import { findBrowser, TestBrowser } from "../support/browser.ts";
import { soon } from "../support/sockets.ts";
import { enter, linkOf, originOf } from "../support/ui_stage.ts";
import { REPORT, TestApi } from "../unit/api/support.ts";

const CHROMIUM = findBrowser();

Deno.test({
  ignore: CHROMIUM === undefined,
  name: "what waits is shown as text; a session that manages decides, and another cannot",
  fn: async () => {
    const book = new AskBook();
    const held = { approvals: undefined as Approvals | undefined };
    const startedAt = Date.now();
    const { fleet: _, ...alone } = REPORT;
    await using api = await TestApi.start({
      tcp: {},
      status: () => ({ ...alone, startedAt, uptimeMs: Date.now() - startedAt }),
      requests: {
        list: () => book.list(),
        approve: (id, approval) => held.approvals?.approve(id, approval) ?? Promise.reject(),
        deny: (id) => held.approvals?.deny(id),
      },
    });
    const { control } = api;
    held.approvals = new Approvals({
      book,
      state: control,
      audit: { write: () => {} },
      clock: systemClock(),
    });
    await control.createClient("ci-1");
    const rule = await control.addRule("ci-1", parseRule({ host: "api.example.com", ask: true }));
    const hold = (id: string, more: { readonly path?: string; readonly reason?: string } = {}) =>
      book.hold({
        ...{
          id,
          client: "ci-1",
          method: "POST",
          scheme: "https",
          host: "api.example.com",
          port: 443,
          path: "/v1",
        },
        ...{ sinceMs: 0, untilMs: 1, ...more },
        ...(more.reason === undefined ? { ruleId: rule.id } : {}),
      });
    const first = hold("aaaaaaaaaaaa");
    const second = hold("bbbbbbbbbbbb", { path: "/<img src=x onerror=alert(1)>" });
    const fourth = hold("dddddddddddd", { path: `/${"x".repeat(2_000)}` });
    const third = hold("cccccccccccc", { path: "/v2", reason: "<b>trust me</b>" });
    await using browser = await TestBrowser.start(CHROMIUM ?? "");

    const usual = await browser.open([originOf(api)]);
    await enter(usual.page, await linkOf(api));
    await usual.page.getByText("slicer-proxy requests approve aaaaaaaaaaaa, or deny").waitFor();
    assertEquals(await usual.page.locator("#waiting button").count(), 0);

    const { page, complaints } = await browser.open([originOf(api)]);
    await enter(page, await linkOf(api, "manage"));
    const rows = page.locator("#waiting li");
    await rows.nth(3).waitFor();
    // In the order in which they came.
    const long = page.getByRole("listitem").filter({ hasText: "/xxx" });
    assertEquals((await long.locator("code").innerText()).length, 301);
    const before = api.control.listRules("ci-1").length;
    await long.getByText("Approve always").click();
    const question = page.getByRole("dialog", { name: "Approve this of ci-1 for good?" });
    await question.getByText("stays until it is revoked").waitFor();
    assertMatch(await question.innerText(), new RegExp(`/${"x".repeat(2_000)}`));
    await question.getByRole("button", { name: "Cancel" }).click();
    assertEquals([control.listRules("ci-1").length, book.list().length], [before, 4]); // asked, and not yet done
    await long.getByText("Approve always").click();
    await question.getByRole("button", { name: "Approve", exact: true }).click();
    assertEquals(await soon("the fourth", fourth.decided), "approved");
    await question.waitFor({ state: "hidden" });
    assertEquals(control.listRules("ci-1").length, before + 1);
    await rows.nth(3).waitFor({ state: "detached" });
    assertMatch(
      await rows.nth(1).innerText(),
      /ci-1 wants to send POST https:\/\/api\.example\.com:443\/<img src=x/,
    );
    assertMatch(await rows.nth(2).innerText(), /asks for a rule for POST .*\/v2 It says: .*<b>trust me<\/b>/);
    assertEquals(await rows.nth(2).getByText("Approve once").count(), 0);
    await rows.nth(0).getByText("Approve once").click();
    assertEquals(await soon("the first", first.decided), "approved");
    await page.getByRole("button", { name: "Deny: ci-1 POST https://api.example.com:443/<img" }).click();
    assertEquals(await soon("the second", second.decided), "denied");
    await page.getByRole("button", {
      name: "Approve for 15 minutes: ci-1 POST https://api.example.com:443/v2",
    })
      .click();
    assertEquals(await soon("the third", third.decided), "approved");
    assertEquals(control.listRules("ci-1").map(({ paths }) => paths), [
      ...[[`/${"x".repeat(2_000)}`], [], ["/v2"]],
    ]);
    await page.locator("#waiting").waitFor({ state: "hidden" });
    assertEquals([...complaints, ...usual.complaints], []);
  },
});
