import { assertEquals } from "@std/assert";
import type { StoredClient } from "../../../../store/clients.ts";
import { bringTo } from "../../../../store/fleet/reload.ts";
import type { StoredRule } from "../../../../store/rules.ts";
import { PolicyView, type ViewChange } from "../../../../store/view.ts";
import { rule } from "../support.ts";

const NOW = 1_000;

function client(name: string, { id = name, version = "1" } = {}): StoredClient {
  return { record: { name, version, createdAt: 0 }, id, digest: `${name} ${version}` };
}

function stored(name: string, id: string, { sequence = 0, host = "a.test" } = {}): StoredRule {
  return { rule: { ...rule(host), id, client: name }, clientId: name, sequence };
}

/** As a row is read: the fields in another order. */
function reread<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).reverse()) as T;
}

/** A policy with one of each. */
function policy(): PolicyView {
  const view = new PolicyView();
  view.setClient(client("one"));
  view.addRule(stored("one", "r1", { sequence: 1 }));
  view.addRule(stored("one", "r2", { sequence: 2 }));
  const record = {
    name: "key",
    host: "a.test",
    type: "bearer",
    version: "1",
    cleartext: false,
    createdAt: 0,
  };
  view.setSecret({ record, value: "v" });
  view.setCa({ record: { hostgroup: "g", version: "1", certPem: "c", importedAt: 0 }, keyPem: "k" });
  view.suspendAll(5);
  view.switchMode({ mode: "audit" });
  view.switchMode({ mode: "strict", client: "one", untilMs: NOW + 1 });
  return view;
}

/** What is done to a policy to make it the other: kinds of steps, in order. */
function stepsTo(change: (fresh: PolicyView) => void): readonly string[] {
  const [view, fresh] = [policy(), policy()];
  change(fresh);
  const steps: ViewChange[] = [];
  view.onStep = (step) => steps.push(step);
  bringTo(view, fresh, NOW);
  view.onStep = () => {};
  assertEquals(view.snapshot(NOW), fresh.snapshot(NOW));
  assertEquals(view.secret("key"), fresh.secret("key"));
  assertEquals(view.ca("g"), fresh.ca("g"));
  return steps.map(({ kind }) => kind);
}

Deno.test("bringTo() takes the steps that the difference needs, and no other: what stays open stays", async (t) => {
  const rows:
    readonly (readonly [name: string, change: (fresh: PolicyView) => void, steps: readonly string[]])[] = [
      ["nothing", () => {}, []],
      ["fields in another order", (fresh) => {
        fresh.setClient(reread(client("one")));
        fresh.moveRule(reread(stored("one", "r1", { sequence: 1 })));
      }, []],
      ["a client more", (fresh) => {
        fresh.setClient(client("two"));
        fresh.addRule(stored("two", "r3"));
      }, ["client", "rules-gone", "rule"]],
      ["a client less", (fresh) => fresh.deleteClient("one"), ["client-gone"]],
      ["a client made anew", (fresh) => fresh.replaceClient(client("one", { id: "new" }), []), [
        "client",
        "rules-gone",
      ]],
      ["another token", (fresh) => fresh.setClient(client("one", { version: "2" })), ["client"]],
      ["a rule more", (fresh) => fresh.addRule(stored("one", "r3", { sequence: 1.5 })), ["rule"]],
      ["a rule less", (fresh) => fresh.deleteRules("one", [stored("one", "r2")]), ["rules-gone"]],
      ["a rule elsewhere", (fresh) => fresh.moveRule(stored("one", "r1", { sequence: 3 })), ["rule"]],
      ["another rule in its place", (fresh) => {
        fresh.deleteRules("one", [stored("one", "r2")]);
        fresh.addRule(stored("one", "r4", { sequence: 2 }));
      }, ["rules-gone", "rule"]],
      ["another value", (fresh) => {
        const old = fresh.secret("key");
        if (old) fresh.setSecret({ ...old, value: "w" });
      }, ["secret"]],
      ["a secret less", (fresh) => fresh.deleteSecret("key"), ["secret-gone"]],
      ["a secret more", (fresh) => {
        const old = fresh.secret("key");
        if (old) fresh.setSecret({ ...old, record: { ...old.record, name: "other" } });
      }, ["secret"]],
      ["a CA less", (fresh) => fresh.deleteCa("g"), ["ca-gone"]],
      ["another CA", (fresh) => {
        const old = fresh.ca("g");
        if (old) fresh.setCa({ ...old, keyPem: "l" });
      }, ["ca"]],
      ["a CA more", (fresh) => {
        const old = fresh.ca("g");
        if (old) fresh.setCa({ ...old, record: { ...old.record, hostgroup: "h" } });
      }, ["ca"]],
      ["nobody suspends all", (fresh) => fresh.suspendAll(undefined), ["all-suspended"]],
      ["another mode", (fresh) => fresh.switchMode({ mode: "strict", client: "one" }), [
        "mode",
        "mode",
        "mode",
      ]],
      ["no mode", (fresh) => fresh.switchMode({ mode: "strict", untilMs: 0 }), ["mode"]],
      ["a mode that is over", (fresh) => fresh.switchMode({ mode: "audit", client: "x", untilMs: NOW }), []],
    ];
  for (const [name, change, steps] of rows) {
    await t.step(name, () => assertEquals(stepsTo(change), steps));
  }
});

Deno.test("bringTo() suspends all from when the store says, whoever else is suspended", () => {
  const [view, fresh] = [new PolicyView(), new PolicyView()];
  fresh.setClient({ ...client("one"), record: { ...client("one").record, suspendedSince: 3 } });
  fresh.suspendAll(7);
  bringTo(view, fresh, NOW);
  assertEquals(view.suspensions(), [{ since: 7 }, { client: "one", since: 3 }]);
});

Deno.test("bringTo() ends switches of the mode that the store has no more, and makes those that it has", () => {
  const view = new PolicyView();
  view.switchMode({ mode: "audit" });
  view.switchMode({ client: "ci-1", mode: "audit" });
  const copy = new PolicyView();
  for (const step of view.snapshot(1_000)) copy.apply(step);
  view.onStep = (step) => copy.apply(step);
  const fresh = new PolicyView();
  fresh.switchMode({ client: "ci-2", mode: "audit", untilMs: 2_000 });
  bringTo(view, fresh, 1_000);
  for (const each of [view, copy]) {
    assertEquals(["ci-1", "ci-2", undefined].map((client) => each.modeOf(client, 1_000)), [
      undefined,
      "audit",
      undefined,
    ]);
  }
});
