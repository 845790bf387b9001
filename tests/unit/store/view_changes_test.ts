import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { parseRule } from "../../../policy/rule.ts";
import type { SecretRecord } from "../../../store/records.ts";
import { PolicyView, type ViewChange } from "../../../store/view.ts";

const NAMES = ["a", "b", "c"];
const name = fc.constantFrom(...NAMES);

/** Any of the steps by which `State` changes its view, in any order. */
const step = fc.oneof(
  fc.record({ kind: fc.constant("client" as const), name, version: fc.nat({ max: 3 }) }),
  fc.record({ kind: fc.constant("delete-client" as const), name }),
  fc.record({
    kind: fc.constant("rule" as const),
    name,
    host: fc.constantFrom("x.test", "*.test", "*"),
    expires: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("revoke" as const), name, at: fc.nat({ max: 3 }) }),
  fc.record({
    kind: fc.constant("replace" as const),
    name,
    kept: fc.nat({ max: 2 }),
    hosts: fc.array(fc.constantFrom("x.test", "y.test"), { maxLength: 3 }),
  }),
  fc.record({ kind: fc.constant("secret" as const), name, version: fc.nat({ max: 3 }) }),
  fc.record({ kind: fc.constant("delete-secret" as const), name }),
  fc.record({ kind: fc.constant("expire" as const) }),
  fc.record({ kind: fc.constant("move" as const), name, from: fc.nat({ max: 3 }), to: fc.nat({ max: 9 }) }),
  fc.record({ kind: fc.constant("suspend" as const), on: fc.boolean() }),
);

let serial = 0;

function make(view: PolicyView, what: typeof step extends fc.Arbitrary<infer T> ? T : never): void {
  const rule = (client: string, host: string, expires: boolean) => ({
    rule: { ...parseRule({ host }), id: String(++serial), client, ...(expires ? { expiresAt: 5 } : {}) },
    clientId: client,
    sequence: serial,
  });
  switch (what.kind) {
    case "move": {
      const stored = view.storedRules(what.name)[what.from];
      if (stored) view.moveRule({ ...stored, sequence: what.to + 0.5 });
      return;
    }
    case "suspend":
      return view.suspendAll(what.on ? 1 : undefined);
    case "client": {
      const { name, version } = what;
      const record = { name, version: String(version), createdAt: 0 };
      return view.setClient({ record, id: name, digest: `${name} ${version}` });
    }
    case "delete-client":
      return view.deleteClient(what.name);
    case "rule":
      if (view.client(what.name)) view.addRule(rule(what.name, what.host, what.expires));
      return;
    case "revoke":
      return view.deleteRules(what.name, view.storedRules(what.name).slice(what.at, what.at + 1));
    case "replace": {
      const client = view.client(what.name);
      if (!client) return;
      const kept = view.storedRules(what.name).slice(0, what.kept);
      const rules = [...what.hosts.map((host) => rule(what.name, host, false)), ...kept];
      return view.replaceClient({ ...client, id: `${client.id}'` }, rules);
    }
    case "secret": {
      const record = {
        name: what.name,
        host: "x.test",
        type: "bearer",
        version: String(what.version),
        cleartext: false,
        createdAt: 0,
      };
      return view.setSecret({ record: record satisfies SecretRecord, value: "the value" });
    }
    case "delete-secret":
      return view.deleteSecret(what.name);
    case "expire":
      view.takeExpired(6);
  }
}

/** Everything that can be asked of a view. */
function contents(view: PolicyView) {
  return {
    clients: view.clients(),
    digests: NAMES.flatMap((name) =>
      [0, 1, 2, 3].map((version) => view.clientByDigest(`${name} ${version}`))
    ),
    rules: NAMES.map((name) => view.storedRules(name)),
    secrets: view.secrets(),
    counts: [view.clientCount, view.ruleCount, view.secretCount],
  };
}

Deno.test("PolicyView: the steps of one view make another the same, from the start or from a snapshot", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.nat({ max: 30 }), (steps, joinsAt) => {
      const view = new PolicyView();
      const first = new PolicyView();
      const late = new PolicyView();
      const copies = [first];
      view.onStep = (change) => {
        for (const copy of copies) copy.apply(structuredClone(change));
      };
      for (const [i, each] of steps.entries()) {
        if (i === joinsAt) {
          for (const change of structuredClone(view.snapshot(0))) late.apply(change);
          copies.push(late);
        }
        make(view, each);
      }
      for (const copy of copies) assertEquals(contents(copy), contents(view));
    }),
    { numRuns: 300 },
  );
});

Deno.test("PolicyView: no step and no snapshot holds the value of a secret", () => {
  const view = new PolicyView();
  const steps: ViewChange[] = [];
  view.onStep = (change) => steps.push(change);
  make(view, { kind: "secret", name: "a", version: 1 });
  assertEquals(JSON.stringify([steps, view.snapshot(0)]).includes("the value"), false);
  assertEquals(steps.length, 1);
});

Deno.test("PolicyView.snapshot() has no rule that has expired: another thread's clock may be behind", () => {
  const view = new PolicyView();
  make(view, { kind: "client", name: "a", version: 1 });
  make(view, { kind: "rule", name: "a", host: "x.test", expires: true }); // at 5
  const kinds = (nowMs: number) => view.snapshot(nowMs).map(({ kind }) => kind);
  assertEquals([kinds(4), kinds(5)], [["client", "rule"], ["client"]]);
});
