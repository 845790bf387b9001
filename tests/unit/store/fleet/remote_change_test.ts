import { assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { writeCa } from "../../../../store/cas.ts";
import { removeClient, type StoredClient, writeClient } from "../../../../store/clients.ts";
import type { Mutation } from "../../../../store/engine.ts";
import { readChange } from "../../../../store/fleet/remote_change.ts";
import { removeMode, writeMode } from "../../../../store/modes.ts";
import { removeRule, type StoredRule, writeRule } from "../../../../store/rules.ts";
import { removeSecret, writeSecret } from "../../../../store/secrets.ts";
import { writeSuspension } from "../../../../store/suspensions.ts";
import { PolicyView } from "../../../../store/view.ts";
import { keysOf } from "../memory_engine.ts";
import { rule } from "../support.ts";

const { sealing } = await keysOf(1);

function client(name: string, { id = name, version = "1" } = {}): StoredClient {
  return { record: { name, version, createdAt: 0 }, id, digest: `${name} ${version}` };
}

function stored(name: string, id: string, { sequence = 0, clientId = name } = {}): StoredRule {
  return { rule: { ...rule(`${id}.test`), id, client: name }, clientId, sequence };
}

function secret(name: string) {
  const record = { name, host: "a.test", type: "bearer", version: "1", cleartext: false, createdAt: 0 };
  return { record, value: "v" };
}

function ca(hostgroup: string) {
  return { record: { hostgroup, version: "1", certPem: "c", importedAt: 0 }, keyPem: "k" };
}

/** Client `one` with rules `r1` and `r2` at 1 and 2, a secret and a CA. */
function policy(): PolicyView {
  const view = new PolicyView();
  view.setClient(client("one"));
  view.addRule(stored("one", "r1", { sequence: 1 }));
  view.addRule(stored("one", "r2", { sequence: 2 }));
  view.setSecret(secret("key"));
  view.setCa(ca("g"));
  return view;
}

/** The kinds of steps that a change takes in a view, which has them made then. */
async function make(view: PolicyView, mutations: readonly Mutation[]): Promise<string[]> {
  const apply = await readChange(mutations, sealing, view);
  const steps: string[] = [];
  view.onStep = ({ kind }) => steps.push(kind);
  apply();
  view.onStep = () => {};
  return steps;
}

function rulesOf(view: PolicyView, name = "one"): string {
  return view.storedRules(name).map(({ rule }) => rule.id).join(" ");
}

Deno.test("readChange() makes nothing in a view before it is told to", async () => {
  const view = policy();
  await readChange([removeClient("one"), removeSecret("key"), writeSuspension(1)], sealing, view);
  assertEquals([view.clientCount, view.secretCount, view.isAllSuspended], [1, 1, false]);
});

Deno.test("readChange() takes secrets and CAs, new and gone", async () => {
  const view = policy();
  const steps = await make(view, [
    removeSecret("key"),
    await writeSecret(sealing, secret("other")),
    { key: ["ca", "g"] },
    await writeCa(sealing, ca("h")),
  ]);
  assertEquals(steps, ["secret", "secret-gone", "ca", "ca-gone"]);
  assertEquals([view.secrets().map(({ name }) => name), view.secret("other")?.value], [["other"], "v"]);
  assertEquals([view.cas().map(({ hostgroup }) => hostgroup), view.ca("h")?.keyPem], [["h"], "k"]);
});

Deno.test("readChange() has a new secret there before the rule that needs it, and a client with its rules at once", async () => {
  const view = policy();
  const steps = await make(view, [
    writeRule(stored("two", "r3", { sequence: 3 }), 0),
    writeRule(stored("two", "r4", { sequence: 4 }), 0),
    writeClient(client("two")),
    await writeSecret(sealing, secret("other")),
  ]);
  assertEquals(steps, ["secret", "client", "rules-gone", "rule", "rule"]);
  assertEquals([rulesOf(view), rulesOf(view, "two")], ["r1 r2", "r3 r4"]);
});

Deno.test("readChange() keeps the rules of a client that only has another token", async () => {
  const view = policy();
  assertEquals(await make(view, [writeClient(client("one", { version: "2" }))]), ["client"]);
  assertEquals([view.client("one")?.record.version, rulesOf(view)], ["2", "r1 r2"]);
});

Deno.test("readChange() gives a client with another id exactly the rules that come with it", async () => {
  const view = policy();
  const mutations = [
    writeRule(stored("one", "r3", { sequence: 3, clientId: "new" }), 0),
    writeClient(client("one", { id: "new" })),
    removeRule(stored("one", "r1", { sequence: 1 })),
    removeRule(stored("one", "r3", { sequence: 3 })), // of the id before: not the one that is there now
  ];
  await make(view, mutations);
  assertEquals([view.client("one")?.id, rulesOf(view)], ["new", "r3"]);
  await make(view, [writeClient(client("one", { id: "newer" }))]);
  assertEquals(rulesOf(view), "");
});

Deno.test("readChange() adds, moves and revokes rules of a client that stays", async () => {
  const view = policy();
  const steps = await make(view, [
    writeRule(stored("one", "r3", { sequence: 1.5 }), 0),
    removeRule(stored("one", "r2", { sequence: 2 })),
  ]);
  assertEquals([steps, rulesOf(view)], [["rule", "rules-gone"], "r1 r3"]);
  // Moved: gone from its old place, and there at the new one.
  const moved = await make(view, [
    removeRule(stored("one", "r1", { sequence: 1 })),
    writeRule(stored("one", "r1", { sequence: 4 }), 0),
  ]);
  assertEquals([moved, rulesOf(view)], [["rule"], "r3 r1"]);
});

Deno.test("readChange() passes over rules of a client that nobody has", async () => {
  const view = policy();
  const steps = await make(view, [
    writeRule(stored("gone", "r9", { sequence: 9 }), 0),
    removeRule(stored("gone", "r8", { sequence: 8 })),
    removeRule(stored("one", "r7", { sequence: 7 })),
  ]);
  assertEquals([steps, rulesOf(view)], [[], "r1 r2"]);
});

Deno.test("readChange() takes a client away with all it has", async () => {
  const view = policy();
  const steps = await make(view, [
    removeClient("one"),
    removeRule(stored("one", "r1", { sequence: 1 })),
    removeRule(stored("one", "r2", { sequence: 2 })),
  ]);
  assertEquals([steps.at(-1), view.clientCount, view.ruleCount], ["client-gone", 0, 0]);
});

Deno.test("readChange() suspends all and lets them go on, and switches the mode", async () => {
  const view = policy();
  assertEquals(await make(view, [writeSuspension(7)]), ["all-suspended"]);
  assertEquals(view.suspensions(), [{ since: 7 }]);
  assertEquals(await make(view, [writeSuspension(undefined)]), ["all-suspended"]);
  assertEquals(view.suspensions(), []);
  assertEquals(await make(view, [removeMode("one"), writeMode({ mode: "audit" }, 0)]), ["mode"]);
  assertEquals(view.modeOf("one", 0), "audit");
});

Deno.test("readChange() refuses what a newer version wrote, and what does not open", async (t) => {
  const view = policy();
  const newer = writeRule(stored("one", "r3", { sequence: 3 }), 0);
  const fresh = writeRule(stored("two", "r3", { sequence: 3 }), 0);
  const other = await keysOf(2);
  const rows: readonly (readonly [string, readonly Mutation[], string])[] = [
    ["a rule with another word", [{ ...newer, value: { ...newer.value, never: 1 } }], "state.newer"],
    [
      "one of a new client",
      [writeClient(client("two")), { ...fresh, value: { ...fresh.value, never: 1 } }],
      "state.newer",
    ],
    ["another mode", [{ key: ["mode", ""], value: { mode: "learn" } }], "state.newer"],
    ["a client without an id", [{ key: ["client", "x"], value: {} }], "state.damaged"],
    ["a secret of another key", [await writeSecret(other.sealing, secret("key"))], "seal.row-damaged"],
    ["a CA of another key", [await writeCa(other.sealing, ca("g"))], "seal.row-damaged"],
  ];
  for (const [name, mutations, code] of rows) {
    await t.step(name, async () => {
      const error = await assertRejects(() => readChange(mutations, sealing, view), ProxyError);
      assertEquals(error.code, code);
    });
  }
});
