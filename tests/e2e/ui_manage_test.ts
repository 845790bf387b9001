/** What the page does beside adding rules, in real Chromium: learning, revoking, and telling what needs a hand. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Locator } from "playwright-core";
import { parseRule } from "../../policy/rule.ts";
import { findBrowser, TestBrowser } from "../support/browser.ts";
import { DENIED, enter, linkOf, originOf, startApi, waitRows, write } from "../support/ui_stage.ts";

const CHROMIUM = findBrowser();
const ignore = CHROMIUM === undefined;
const startBrowser = () => TestBrowser.start(CHROMIUM ?? "");

/** Which of the boxes have a tick. */
async function checkedOf(boxes: Locator): Promise<boolean[]> {
  return await Promise.all((await boxes.all()).map((box) => box.isChecked()));
}

Deno.test({ ignore, name: "a client learns for a while, and goes back to strict" }, async () => {
  await using api = await startApi();
  const { control } = api;
  await control.createClient("ci-1");
  await control.switchMode({ mode: "strict" });
  await using browser = await startBrowser();
  const { page, complaints } = await browser.open([originOf(api)]);
  await enter(page, await linkOf(api));
  await page.getByRole("button", { name: "Let ci-1 learn for 15 minutes" }).click();
  const row = page.locator("#client-list details");
  await row.getByText(/^1[45]m \d+s left$/).waitFor();
  assertMatch(await row.locator("summary").innerText(), /^ci-1\s+learning$/);
  const [, made] = control.modeSwitches();
  assertEquals([made?.client, made?.mode], ["ci-1", "audit"]);
  await page.getByRole("button", { name: "Put ci-1 back to strict" }).press("Enter");
  const learn = page.getByRole("button", { name: "Let ci-1 learn for 15 minutes" });
  await learn.waitFor();
  assertEquals(await learn.evaluate("document.activeElement?.textContent"), "Learn 15 minutes");
  assertEquals(control.modeSwitches().map(({ client, mode }) => [client, mode]), [
    [undefined, "strict"],
    ["ci-1", "strict"],
  ]);
  assertEquals(complaints, []);
});

Deno.test(
  { ignore, name: "for a tunnel that strict mode refused: learn, or the host with what is known" },
  async (t) => {
    await using api = await startApi();
    const { control } = api;
    await control.createClient("ci-1");
    await control.switchMode({ mode: "strict" });
    const tunnel = {
      ...DENIED,
      method: "CONNECT",
      scheme: undefined,
      path: undefined,
      mode: "strict",
    } as const;
    await write(api, tunnel, { ...tunnel, host: "db.example.com", port: 8443 }, {
      ...tunnel,
      host: "192.0.2.1",
    });
    await using browser = await startBrowser();
    const { page, complaints } = await browser.open([originOf(api)]);
    await enter(page, await linkOf(api));
    await waitRows(page, 3);
    const open = async (host: string) => {
      await page.getByRole("button", { name: `Propose a rule for CONNECT ${host}` }).click();
      const dialog = page.getByRole("dialog", { name: "A rule for ci-1" });
      await dialog.locator(".actions").waitFor();
      return dialog;
    };

    await t.step("nothing is added unless it is chosen, and with its parts as they are chosen", async () => {
      const dialog = await open("db.example.com");
      const add = dialog.getByRole("button", { name: "Add this rule" });
      assertEquals(await add.isDisabled(), true);
      await dialog.getByRole("checkbox", { name: "any method db.example.com:8443 any path" }).check();
      await dialog.getByText("this allows every method and every path of it").waitFor();
      await dialog.getByRole("checkbox", { name: "any", exact: true }).uncheck();
      await dialog.getByText("Choose a method, or any.").waitFor();
      assertEquals(await add.isDisabled(), true, "no method would mean any");
      await dialog.getByRole("checkbox", { name: "GET" }).check();
      await dialog.getByRole("checkbox", { name: "Path *" }).uncheck();
      await dialog.getByText("Choose a path.").waitFor();
      assertEquals(await add.isDisabled(), true, "no path would mean any");
      await dialog.getByRole("textbox", { name: "Path" }).fill("/v1/*");
      assertEquals(
        await dialog.locator("pre").innerText(),
        "slicer-proxy allow ci-1 --host db.example.com --port 8443 --method GET --path '/v1/*' --ttl 1h",
      );
      await add.click();
      await dialog.waitFor({ state: "hidden" });
      assertEquals(
        control.listRules("ci-1").map(({ host, methods, paths, ports }) => [host, methods, paths, ports]),
        [
          ["db.example.com", ["GET"], ["/v1/*"], [8443]],
        ],
      );
    });

    await t.step("no rule and no learning for an address", async () => {
      const dialog = await open("192.0.2.1");
      await dialog.getByText("rules for addresses are not suggested").waitFor();
      assertEquals(await dialog.getByRole("button", { name: "Learn" }).count(), 0);
      await dialog.getByRole("button", { name: "Close" }).click();
    });

    await t.step("learn", async () => {
      const dialog = await open("api.example.com");
      await dialog.getByRole("button", { name: "Learn for 15 minutes" }).click();
      await dialog.waitFor({ state: "hidden" });
      await page.getByText("ci-1 learns for 15 minutes").waitFor();
      assertEquals(control.modeSwitches().at(-1)?.mode, "audit");
      const again = await open("api.example.com");
      await again.getByText("ci-1 is learning for another 14m").waitFor();
      await page.keyboard.press("Escape");
    });

    await t.step("what is known by then", async () => {
      await write(api, { ...DENIED, path: "/v1/models" }, { ...DENIED, path: "/v1/files" });
      await waitRows(page, 5);
      const dialog = await open("api.example.com");
      const add = dialog.getByRole("button", { name: "Add this rule" });
      const boxes = dialog.locator(".paths").getByRole("checkbox");
      assertEquals(await checkedOf(boxes), [true, true]);
      await dialog.getByRole("checkbox", { name: "all 2" }).uncheck();
      assertEquals(await add.isDisabled(), true);
      await dialog.getByRole("checkbox", { name: "Path /v1/files" }).check();
      await add.click();
      await dialog.waitFor({ state: "hidden" });
      assertEquals(control.listRules("ci-1")[1]?.paths, ["/v1/files"]);
    });
    assertEquals(complaints, []);
  },
);

Deno.test(
  { ignore, name: "of many paths the one that was asked about is chosen, and a secret can be" },
  async () => {
    await using api = await startApi();
    const { control } = api;
    for (const [name, host] of [["here", "*.example.com"], ["elsewhere", "example.org"]] as const) {
      await control.putSecret({ name, host, type: "bearer", value: "v", cleartext: false }, { force: false });
    }
    await control.createClient("ci-1");
    await write(api, ...["/a", "/b", "/c"].map((path) => ({ ...DENIED, path })));
    await using browser = await startBrowser();
    const { page } = await browser.open([originOf(api)]);
    await enter(page, await linkOf(api));
    await page.getByRole("button", { name: "Propose a rule for GET api.example.com/b" }).click();
    const dialog = page.getByRole("dialog", { name: "A rule for ci-1" });
    const boxes = dialog.locator(".paths").getByRole("checkbox");
    await boxes.nth(2).waitFor();
    assertEquals(await checkedOf(boxes), [false, true, false]);
    assertEquals(await dialog.getByLabel("Secret").locator("option").allInnerTexts(), [
      "none",
      "here (bearer)",
    ]);
    await dialog.getByLabel("Secret").selectOption("here");
    await dialog.getByRole("button", { name: "Add a path" }).click();
    await page.keyboard.press("End");
    await page.keyboard.type("d/*");
    await dialog.getByRole("button", { name: "Add this rule" }).click();
    await dialog.waitFor({ state: "hidden" });
    const [rule] = control.listRules("ci-1");
    assertEquals([rule?.methods, rule?.paths, rule?.secret], [["GET"], ["/b", "/d/*"], "here"]);
  },
);

Deno.test(
  {
    ignore,
    name: "of a package tree it says how many passes are to come, and shows what was asked for alone",
  },
  async () => {
    await using api = await startApi();
    await api.control.createClient("ci-1");
    const npm = { ...DENIED, host: "registry.npmjs.org" };
    await write(api, { ...npm, path: "/left" }, { ...npm, path: "/right" });
    await using browser = await startBrowser();
    const { page } = await browser.open([originOf(api)]);
    await enter(page, await linkOf(api));
    await page.getByRole("button", { name: "Propose a rule for GET registry.npmjs.org/left" }).click();
    const dialog = page.getByRole("dialog", { name: "A rule for ci-1" });
    await dialog.getByText("No further pass is expected for npm").waitFor();
    const paths = dialog.getByRole("textbox", { name: "Path" });
    assertEquals(await paths.first().inputValue(), "/*");
    await dialog.getByRole("checkbox", { name: "only the paths that were asked for" }).check();
    await dialog.getByText("for each level of what its packages depend on").waitFor();
    assertEquals(await Promise.all((await paths.all()).map((each) => each.inputValue())), [
      "/left",
      "/right",
    ]);
    assertEquals(await checkedOf(dialog.locator(".paths").getByRole("checkbox")), [true, false]);
  },
);

Deno.test({ ignore, name: "revoke: only in a session that may, and only after the question" }, async (t) => {
  await using api = await startApi();
  const { control } = api;
  await control.createClient("ci-1");
  for (const path of ["/one", "/two"]) {
    await control.addRule("ci-1", parseRule({ host: "api.example.com", paths: [path] }));
  }
  const paths = () => control.listRules("ci-1").map(({ paths }) => paths.join());
  await using browser = await startBrowser();

  await t.step("a usual session has no button", async () => {
    const { page } = await browser.open([originOf(api)]);
    await enter(page, await linkOf(api));
    await page.locator("#client-list li").nth(1).waitFor();
    assertEquals(await page.getByRole("button", { name: /Revoke/ }).count(), 0);
  });

  await t.step("one that may manage asks first", async () => {
    const { page, complaints } = await browser.open([originOf(api)]);
    await enter(page, await linkOf(api, "manage"));
    const revoke = page.getByRole("button", {
      name: "Revoke the rule of ci-1 for api.example.com: any method · /one",
    });
    await revoke.press("Enter");
    const dialog = page.getByRole("dialog", { name: "Revoke this rule of ci-1?" });
    assertStringIncludes(await dialog.innerText(), "any method · /one");
    assertEquals(
      await page.evaluate("document.activeElement.textContent"),
      "Cancel",
      "Enter alone does not revoke",
    );
    await page.keyboard.press("Enter");
    await dialog.waitFor({ state: "hidden" });
    assertEquals(paths(), ["/one", "/two"]);

    await revoke.click();
    await dialog.getByRole("button", { name: "Revoke" }).click();
    await dialog.waitFor({ state: "hidden" });
    assertEquals(paths(), ["/two"]);
    await page.getByText("Revoked: ci-1 may not do that any more.").waitFor();
    await page.locator("#client-list li", { hasText: "/one" }).waitFor({ state: "detached" });

    const last = page.getByRole("button", { name: /^Revoke the rule/ });
    await last.click();
    await control.revokeHost("ci-1", "api.example.com");
    assertEquals(complaints, []);
    await dialog.getByRole("button", { name: "Revoke" }).click();
    await dialog.getByText("no such rule").waitFor();
  });
});

Deno.test(
  { ignore, name: "logins and rules that need a hand stand on top, and go when they do not" },
  async () => {
    await using api = await startApi();
    const { control } = api;
    const secret = { host: "api.example.com", type: "bearer", value: "v", cleartext: false };
    for (const name of ["gone", "other"]) {
      await control.putSecret({
        ...secret,
        name,
      }, { force: false });
    }
    await control.createClient("ci-1");
    await control.addRule("ci-1", parseRule({ host: "api.example.com", secret: "gone" }));
    await using browser = await startBrowser();
    const { page, complaints } = await browser.open([originOf(api)]);
    await enter(page, await linkOf(api));
    await page.locator("#client-list li").waitFor();
    assertEquals(await page.locator("#attention").isVisible(), false);
    await control.deleteSecret("gone");
    await page.getByText(
      "The rule of ci-1 for api.example.com denies what it matches: its secret gone is gone.",
    ).waitFor();
    await page.locator("#attention code", {
      hasText: "slicer-proxy secret create gone --host api.example.com --value-file FILE",
    }).waitFor();
    await page.route("**/proxy/v1/status", async (route) => {
      const response = await route.fetch();
      const error = "the provider refused the refresh token";
      const login = { name: "claude", host: "api.anthropic.com", type: "oauth-claude", error };
      await route.fulfill({ response, json: { ...await response.json(), secret_errors: [login] } });
    });
    await page.getByText("Login claude cannot be used: the provider refused the refresh token.").waitFor();
    await page.locator("#attention code", { hasText: "secret create claude --force" }).waitFor();
    await page.unroute("**/proxy/v1/status");
    await control.putSecret({ ...secret, name: "gone" }, { force: false });
    await page.locator("#attention").waitFor({ state: "hidden" });
    assertEquals(complaints, []);
  },
);

Deno.test(
  { ignore, name: "suspend and resume: only in a session that may, and only after the question" },
  async () => {
    await using api = await startApi();
    await api.control.createClient("ci-1");
    await using browser = await startBrowser();
    const usual = await browser.open([originOf(api)]);
    await enter(usual.page, await linkOf(api));
    await usual.page.getByRole("button", { name: "Let ci-1 learn" }).or(
      usual.page.getByRole("button", { name: "Put ci-1 back" }),
    ).waitFor();
    assertEquals(await usual.page.getByRole("button", { name: "Suspend" }).count(), 0);
    const { page, complaints } = await browser.open([originOf(api)]);
    await enter(page, await linkOf(api, "manage"));
    for (const [verb, isSuspended] of [["Suspend", true], ["Resume", false]] as const) {
      await page.getByRole("button", { name: `${verb} ci-1` }).click();
      const dialog = page.getByRole("dialog", { name: `${verb} ci-1?` });
      assertEquals(api.control.suspensions().length, isSuspended ? 0 : 1);
      await dialog.getByRole("button", { name: verb }).click();
      await dialog.waitFor({ state: "hidden" });
      assertEquals(api.control.suspensions().length, isSuspended ? 1 : 0);
      if (isSuspended) await page.locator("#client-list summary", { hasText: "suspended" }).waitFor();
    }
    assertEquals(complaints, []);
  },
);
