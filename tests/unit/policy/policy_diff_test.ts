import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ProxyError } from "../../../core/errors.ts";
import {
  type ClientPlan,
  planPolicy,
  policyFileOf,
  type PolicyPlan,
  type PresentPolicy,
  type Prune,
} from "../../../policy/policy_diff.ts";
import {
  formatPolicyFile,
  parsePolicyFile,
  type PolicyFile,
  type PolicyRule,
} from "../../../policy/policy_file.ts";
import { parseRule, type Rule, ruleKey } from "../../../policy/rule.ts";
import { makeRule } from "../../support/make_rule.ts";
import { policyFiles, withoutPlaces } from "../../support/policy_files.ts";

const NOW = 1_800_000_000_000;
const SECRETS = new Map([["gh", { host: "a.test", type: "bearer" }]]);

/** A present policy of one client. */
function presentOf(...rules: readonly Rule[]): PresentPolicy {
  return { clients: new Map([["ci-1", rules]]), budgets: new Map(), secrets: SECRETS };
}

/** The file with these items for client `ci-1`. */
function fileOf(...items: readonly string[]): PolicyFile {
  const allow = items.map((item) => `{ ${item} }`).join(", ");
  return parsePolicyFile(
    `version: 1\nsecrets: { gh: { host: a.test } }\nclients: { ci-1: { allow: [${allow}] } }\n`,
    "p.yaml",
  );
}

function plan(present: PresentPolicy, file: PolicyFile, prune: Prune = "nothing"): PolicyPlan {
  return planPolicy(present, file, { prune, nowMs: NOW });
}

/** `action place host` of each change. */
function shown(client: ClientPlan | undefined): string[] {
  return (client?.changes ?? []).map(({ action, place, spec }) => `${action} ${place} ${spec.host}`);
}

/** Where each rule of the result comes from: the id of the rule that goes on, or `+host`. */
function result(client: ClientPlan | undefined): string[] {
  return (client?.rules ?? []).map(({ spec, kept }) => kept?.id ?? `+${spec.host}`);
}

const A = makeRule("A", { host: "a.test" });
const B = makeRule("B", { host: "b.test" });
const C = makeRule("C", { host: "c.test" });

Deno.test("planPolicy() puts the file's rules first and in order, and the others behind them", async (t) => {
  const rows: readonly {
    name: string;
    present: readonly Rule[];
    file: readonly string[];
    prune?: Prune;
    result: readonly string[];
    changes: readonly string[];
  }[] = [
    { name: "the same", present: [A, B], file: ["host: a.test", "host: b.test"], result: [], changes: [] },
    {
      name: "one more at the end",
      present: [A],
      file: ["host: a.test", "host: b.test"],
      result: ["A", "+b.test"],
      changes: ["add 2 b.test"],
    },
    {
      name: "one more in front",
      present: [A],
      file: ["host: b.test", "host: a.test"],
      result: ["+b.test", "A"],
      changes: ["add 1 b.test"],
    },
    {
      name: "another order",
      present: [A, B, C],
      file: ["host: c.test", "host: a.test", "host: b.test"],
      result: ["C", "A", "B"],
      changes: ["move 2 a.test", "move 3 b.test"],
    },
    {
      name: "others behind, already there",
      present: [A, B],
      file: ["host: a.test"],
      result: [],
      changes: [],
    },
    {
      name: "others that stood in front",
      present: [A, B],
      file: ["host: b.test"],
      result: ["B", "A"],
      changes: ["move 2 a.test"],
    },
    {
      name: "others, pruned",
      present: [A, B, C],
      file: ["host: b.test"],
      prune: "rules",
      result: ["B"],
      changes: ["remove 1 a.test", "remove 3 c.test"],
    },
    {
      name: "no rules, pruned",
      present: [A],
      file: [],
      prune: "clients",
      result: [],
      changes: ["remove 1 a.test"],
    },
    {
      name: "a secret that was added",
      present: [A],
      file: ["host: a.test, secret: gh"],
      result: ["+a.test"],
      changes: ["remove 1 a.test", "add 1 a.test"],
    },
    {
      name: "a secret that is gone",
      present: [makeRule("A", { host: "a.test", secret: "gh" })],
      file: ["host: a.test"],
      result: ["+a.test"],
      changes: ["remove 1 a.test", "add 1 a.test"],
    },
  ];
  for (const { name, present, file, prune, result: expected, changes } of rows) {
    await t.step(name, () => {
      const [client] = plan(presentOf(...present), fileOf(...file), prune);
      assertEquals([result(client), shown(client)], [expected, changes]);
    });
  }
});

Deno.test("planPolicy() creates clients, leaves others alone, and deletes them only when they are pruned", () => {
  const present = {
    clients: new Map([["b", [B]], ["a", [A]], ["ci-1", []]]),
    budgets: new Map(),
    secrets: SECRETS,
  };
  const file = parsePolicyFile("version: 1\nclients: { new: { allow: [] }, ci-1: { allow: [] } }\n", "f");
  const actions = (prune: Prune) =>
    plan(present, file, prune).map(({ client, action }) => `${action} ${client}`);
  assertEquals(actions("nothing"), ["create new"]);
  assertEquals(actions("rules"), ["create new"]);
  assertEquals(actions("clients"), ["create new", "delete a", "delete b"]);
  assertEquals(shown(plan(present, file, "clients")[1]), ["remove 1 a.test"]);
});

Deno.test("planPolicy() keeps, shortens, sets and removes ends", async (t) => {
  const at = (expiresAt: number) => new Date(expiresAt).toISOString();
  const rows: readonly {
    name: string;
    expiresAt: number | undefined;
    file: string;
    action: "none" | "expire" | "remove";
    end?: number;
  }[] = [
    { name: "a ttl that runs", expiresAt: NOW + 60_000, file: "ttl: 1h", action: "none" },
    { name: "a ttl that was just set", expiresAt: NOW + 3_600_000, file: "ttl: 1h", action: "none" },
    {
      name: "a ttl that was shortened",
      expiresAt: NOW + 3_600_001,
      file: "ttl: 1h",
      action: "expire",
      end: NOW + 3_600_000,
    },
    {
      name: "a ttl for a rule without",
      expiresAt: undefined,
      file: "ttl: 1h",
      action: "expire",
      end: NOW + 3_600_000,
    },
    { name: "no ttl any more", expiresAt: NOW + 60_000, file: "", action: "expire" },
    { name: "the same time", expiresAt: NOW + 60_000, file: `expires: ${at(NOW + 60_000)}`, action: "none" },
    {
      name: "another time",
      expiresAt: NOW + 60_000,
      file: `expires: ${at(NOW + 60_001)}`,
      action: "expire",
      end: NOW + 60_001,
    },
    { name: "a time that has passed", expiresAt: undefined, file: `expires: ${at(NOW)}`, action: "remove" },
  ];
  for (const { name, expiresAt, file, action, end } of rows) {
    await t.step(name, () => {
      const rule = { ...A, ...(expiresAt === undefined ? {} : { expiresAt }) };
      const [client] = plan(presentOf(rule), fileOf(`host: a.test, ${file}`));
      assertEquals(client?.changes.map((change) => change.action) ?? ["none"], [action]);
      if (action !== "expire") return;
      assertEquals(client?.rules[0]?.kept, rule);
      assertEquals(client?.rules[0]?.expiresAt, end);
    });
  }
});

Deno.test("planPolicy() adds a ttl rule that has ended anew, and no rule whose time has passed", () => {
  const [client] = plan(
    presentOf(),
    fileOf("host: a.test, ttl: 1h", `host: b.test, expires: ${new Date(NOW).toISOString()}`),
  );
  assertEquals(client?.changes, [
    { action: "add", place: 1, spec: parseRule({ host: "a.test" }), expiresAt: NOW + 3_600_000 },
  ]);
});

Deno.test("planPolicy() takes a rule with other options for another one", () => {
  const lone = makeRule("L", { host: "a.test", oneRequestPerConnection: true, responseTimeoutMs: 60_000 });
  const options = "one_request_per_connection: true, response_timeout: 1m";
  assertEquals(plan(presentOf(lone), fileOf(`host: a.test, ${options}`)), []);
  for (
    const [before, after] of [[A, `, ${options}`], [lone, ""], [lone, ", response_timeout: 1m"]] as const
  ) {
    const [client] = plan(presentOf(before), fileOf(`host: a.test${after}`));
    assertEquals(shown(client), ["remove 1 a.test", "add 1 a.test"]);
  }
});

Deno.test("planPolicy() refuses a file whose secrets are not there as it says", async (t) => {
  const rows: readonly [string, string, string][] = [
    ["absent", "s: { host: a.test }", "Cannot apply p.yaml:3:15: there is no secret s"],
    [
      "another host",
      "gh: { host: b.test }",
      "Cannot apply p.yaml:3:16: secret gh is of type bearer for a.test, not bearer for b.test",
    ],
    [
      "another type",
      "gh: { host: a.test, type: basic }",
      "Cannot apply p.yaml:3:16: secret gh is of type bearer for a.test, not basic for a.test",
    ],
  ];
  for (const [name, entry, message] of rows) {
    await t.step(name, () => {
      const file = parsePolicyFile(`version: 1\nclients: {}\nsecrets: { ${entry} }\n`, "p.yaml");
      const error = assertThrows(() => plan(presentOf(), file, "clients"), ProxyError);
      assertEquals([error.code, error.message], ["input.invalid", message]);
    });
  }
});

Deno.test("planPolicy() lifts a client's budget only where the file says so, or clients are pruned", async (t) => {
  const had = ["requests=1K/h"];
  const rows: readonly [name: string, budget: string, Prune, readonly string[] | undefined][] = [
    ["the same, in another spelling", "budget: [requests=1000/H],", "clients", undefined],
    ["another", "budget: [requests=2K/h, bytes-up=1M/d],", "nothing", ["bytes-up=1M/d", "requests=2K/h"]],
    ["none, said", "budget: [],", "nothing", []],
    ["nothing said", "", "nothing", undefined],
    ["nothing said, rules pruned", "", "rules", undefined],
    ["nothing said, clients pruned", "", "clients", []],
  ];
  for (const [name, budget, prune, expected] of rows) {
    await t.step(name, () => {
      const file = parsePolicyFile(
        `version: 1\nclients: { ci-1: { ${budget} allow: [{ host: a.test }] } }`,
        "f",
      );
      const present = { ...presentOf(A), budgets: new Map([["ci-1", had]]) };
      const [client] = plan(present, file, prune);
      assertEquals(client?.budget, expected);
      assertEquals(client?.changes, expected ? [] : undefined);
      assertEquals(result(client), expected ? ["A"] : []);
    });
  }
});

const RUNS = { numRuns: 500, seed: 20_260_901 };
let made = 0;

/** The policy that a plan leaves behind. */
function applied(present: PresentPolicy, plan: PolicyPlan): PresentPolicy {
  const clients = new Map(present.clients);
  const budgets = new Map(present.budgets);
  for (const { client, action, rules, budget } of plan) {
    if (action === "delete" || budget?.length === 0) budgets.delete(client);
    else if (budget) budgets.set(client, budget);
    if (action === "delete") clients.delete(client);
    else {
      clients.set(
        client,
        rules.map(({ spec, expiresAt, kept }) => ({
          ...spec,
          id: kept?.id ?? `new ${made++}`,
          client,
          ...(expiresAt === undefined ? {} : { expiresAt }),
        })),
      );
    }
  }
  return { clients, budgets, secrets: present.secrets };
}

/** A present policy at random: what some file makes of nothing. */
const presents = policyFiles.map((file) =>
  applied(
    { clients: new Map(), budgets: new Map(), secrets: file.secrets },
    plan({ clients: new Map(), budgets: new Map(), secrets: file.secrets }, file),
  )
);
const prunes = fc.constantFrom<Prune>("nothing", "rules", "clients");

Deno.test("planPolicy() of an applied file is empty", () => {
  fc.assert(
    fc.property(presents, policyFiles, prunes, (present, file, prune) => {
      assertEquals(plan(applied(present, plan(present, file, prune)), file, prune), []);
    }),
    RUNS,
  );
});

Deno.test("planPolicy() leaves the file's rules, in its order, before all others", () => {
  fc.assert(
    fc.property(presents, policyFiles, prunes, (present, file, prune) => {
      const after = applied(present, plan(present, file, prune));
      const isLive = ({ expiresAt }: PolicyRule) => expiresAt === undefined || expiresAt > NOW;
      for (const [client, rules] of file.clients) {
        const wanted = rules.filter(isLive).map(({ spec }) => ruleKey(spec) + spec.secret);
        const got = (after.clients.get(client) ?? []).map((rule) => ruleKey(rule) + rule.secret);
        assertEquals(got.slice(0, wanted.length), wanted);
        if (prune !== "nothing") assertEquals(got.length, wanted.length);
      }
      for (const client of after.clients.keys()) {
        assert(prune !== "clients" || file.clients.has(client));
      }
    }),
    RUNS,
  );
});

Deno.test("policyFileOf() gives a file that reads back and changes nothing", () => {
  fc.assert(
    fc.property(presents, prunes, (present, prune) => {
      const file = parsePolicyFile(formatPolicyFile(policyFileOf(present)), "f");
      assertEquals(withoutPlaces(file), policyFileOf(present));
      assertEquals(plan(present, file, prune), []);
    }),
    RUNS,
  );
});
