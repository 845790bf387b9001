/** Calls of gRPC on the web page: from a denial to a rule, and in a client's list. */
import { assertEquals, assertMatch } from "@std/assert";
import { parseRule } from "../../policy/rule.ts";
import { findBrowser, TestBrowser } from "../support/browser.ts";
import { DENIED, enter, linkOf, originOf, startApi, waitRows, write } from "../support/ui_stage.ts";

const CHROMIUM = findBrowser();
const ignore = CHROMIUM === undefined;

Deno.test({ ignore, name: "a denied gRPC call becomes a rule for this call" }, async () => {
  await using api = await startApi();
  const { control } = api;
  await control.createClient("ci-1");
  await control.addRule("ci-1", parseRule({ host: "api.example.com", grpc: ["p.S/Get"] }));
  const call = { ...DENIED, method: "POST", proto: "h2", grpcStatus: 7 } as const;
  await write(api, { ...call, path: "/p.S/Set" }, { ...call, path: "/q.T/Get" });
  await using browser = await TestBrowser.start(CHROMIUM ?? "");
  const { page, complaints } = await browser.open([originOf(api)]);
  await enter(page, await linkOf(api));
  await waitRows(page, 2);
  await page.locator("#client-list").getByText("grpc p.S/Get").waitFor();
  assertMatch(await page.locator("#client-list").innerText(), /api\.example\.com\ngrpc p\.S\/Get/);
  await page.getByRole("button", { name: "Propose a rule for POST api.example.com/p.S/Set" }).click();
  const dialog = page.getByRole("dialog", { name: "A rule for ci-1" });
  await dialog.getByText("Add this rule").waitFor();
  assertMatch(await dialog.innerText(), /gRPC calls/);
  const command = "slicer-proxy allow ci-1 --host api.example.com";
  assertEquals(
    await dialog.locator("fieldset.chosen pre").innerText(),
    `${command} --grpc p.S/Set --ttl 1h`,
  );
  const other = dialog.getByLabel("Call q.T/Get");
  assertEquals(await other.isChecked(), false, "another call is not chosen");
  await other.check();
  await dialog.getByText("--grpc p.S/Set --grpc q.T/Get").waitFor();
  await dialog.getByRole("button", { name: "Add this rule" }).click();
  await dialog.waitFor({ state: "hidden" });
  assertEquals(control.listRules("ci-1").map(({ grpc, methods, paths }) => [grpc, methods, paths]), [
    [["p.S/Get"], [], []],
    [["p.S/Set", "q.T/Get"], [], []],
  ]);
  assertEquals(complaints, []);
});
