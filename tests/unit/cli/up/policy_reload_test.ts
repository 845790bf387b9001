import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { type PolicyReloadOptions, startPolicy } from "../../../../cli/up/policy_reload.ts";
import { systemClock } from "../../../../core/clock.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { parseRule } from "../../../../policy/rule.ts";
import { State } from "../../../../store/state.ts";
import { fakeIo } from "../terminal/fake_io.ts";

/** A state, a policy file, and a log that can be waited for. */
async function setUp(text: string) {
  const stack = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const state = stack.use(await State.open({ dir: `${dir}/state`, clock: systemClock() }));
  const path = `${dir}/policy.yaml`;
  const lines: string[] = [];
  let wake = () => {};
  const take = (level: string) => (line: string) => {
    lines.push(`${level} ${line.replaceAll(dir, "DIR")}`);
    wake();
  };
  const log = { info: take("info"), warn: take("warn"), error: take("error") };
  const write = (text: string) => Deno.writeTextFile(path, text);
  await write(text);
  return {
    state,
    path,
    write,
    lines,
    start: (from = path, to: PolicyReloadOptions["state"] = state) =>
      startPolicy({ path: from, state: to, io: fakeIo({ env: { HOME: dir } }), log, retryMs: 5 }),
    /** Sends SIGHUP and waits for a line that matches. */
    async hangUp(pattern: RegExp) {
      lines.length = 0;
      Deno.kill(Deno.pid, "SIGHUP");
      let isLate = false;
      // A timer, since waiting for a signal alone keeps no test running.
      const timer = setTimeout(() => {
        isLate = true;
        wake();
      }, 10_000);
      while (!lines.some((line) => pattern.test(line)) && !isLate) {
        await new Promise<void>((resolve) => wake = resolve);
      }
      clearTimeout(timer);
      assert(!isLate, `nothing matches ${pattern} in:\n${lines.join("\n")}`);
    },
    hosts: (client: string) => state.listRules(client).map(({ host }) => host),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const fileOf = (...hosts: readonly string[]) =>
  JSON.stringify({ version: 1, clients: { "ci-1": { allow: hosts.map((host) => ({ host })) } } });

Deno.test("startPolicy() gives the clients of the file exactly its rules, at start and at SIGHUP", async () => {
  await using setup = await setUp(fileOf("a.test", "b.test"));
  const { state } = setup;
  await state.createClient("other");
  await state.addRule("other", parseRule({ host: "o.test" }));
  await using _reload = await setup.start();
  assertEquals(setup.hosts("ci-1"), ["a.test", "b.test"]);
  assertEquals(setup.lines, [
    "info DIR/policy.yaml is in force now",
    "info client ci-1 created, rules: 2 added",
    "warn ci-1: nobody has a token yet; slicer-proxy client rotate NAME prints one",
    "info not in DIR/policy.yaml, so left as they are: other",
  ]);
  await setup.write(fileOf("c.test", "b.test"));
  await state.addRule("ci-1", parseRule({ host: "by-hand.test" }));
  await setup.hangUp(/not in DIR/);
  assertEquals([setup.hosts("ci-1"), setup.hosts("other")], [["c.test", "b.test"], ["o.test"]]);
  assertStringIncludes(setup.lines.join("\n"), "info client ci-1 changed, rules: 1 added, 2 removed");
  await setup.hangUp(/nothing to change/);
});

Deno.test("startPolicy() does not start with a file that cannot be read", async () => {
  await using setup = await setUp("version: 1\nclients: {}\nrules: []\n");
  const error = await assertRejects(() => setup.start(), ProxyError);
  assertEquals(error.code, "input.invalid");
  assertStringIncludes(error.message, 'policy.yaml:3:1: unknown key "rules"');
  await Deno.remove(setup.path);
  assertStringIncludes(
    (await assertRejects(() => setup.start(), ProxyError)).message,
    "there is no such file",
  );
});

Deno.test("startPolicy() starts without a secret, and applies the file at SIGHUP when it is there", async () => {
  const text =
    "version: 1\nsecrets: { gh: { host: a.test } }\nclients: { ci-1: { allow: [{ host: a.test, secret: gh }] } }\n";
  await using setup = await setUp(text);
  await using _reload = await setup.start();
  assertEquals(setup.lines.length, 1);
  assertStringIncludes(
    setup.lines[0] ?? "",
    "error Cannot apply DIR/policy.yaml:2:16: there is no secret gh (create it:",
  );
  assertEquals(setup.state.listClients(), []);
  await setup.state.putSecret(
    { name: "gh", host: "a.test", type: "bearer", value: "v", cleartext: false },
    { force: false },
  );
  await setup.hangUp(/in force now/);
  assertEquals(setup.hosts("ci-1"), ["a.test"]);
});

Deno.test("startPolicy() changes nothing at SIGHUP when the file cannot be used, and says why", async (t) => {
  await using setup = await setUp(fileOf("a.test"));
  await using _reload = await setup.start();
  const rows: readonly [string, () => Promise<unknown>, RegExp][] = [
    [
      "bad rule",
      () => setup.write(fileOf("b.test", "http://x")),
      /^error Cannot read DIR\/policy\.yaml:1:\d+: .* nothing was changed$/,
    ],
    [
      "a secret that is not there",
      () =>
        setup.write(
          '{"version": 1, "secrets": {"s": {"host": "b.test"}}, "clients": {"ci-1": {"allow": []}}}',
        ),
      /^error Cannot apply .*there is no secret s/,
    ],
    [
      "writable by everybody",
      () => Deno.chmod(setup.path, 0o666),
      /^error Cannot use the policy .*everybody can write to it/,
    ],
    [
      "a pipe without a writer",
      async () => {
        await Deno.remove(setup.path);
        await new Deno.Command("mkfifo", { args: [setup.path] }).output();
      },
      /^error Cannot read the policy .* again: it is no regular file; nothing was changed$/,
    ],
    ["absent", () => Deno.remove(setup.path), /^error Cannot read .*there is no such file/],
  ];
  for (const [name, spoil, pattern] of rows) {
    await t.step(name, async () => {
      await spoil();
      await setup.hangUp(pattern);
      assertEquals(setup.hosts("ci-1"), ["a.test"]);
    });
  }
});

Deno.test("startPolicy() ends with the reload that is under way", async () => {
  await using setup = await setUp(fileOf("a.test"));
  {
    await using _reload = await setup.start();
    await setup.write(fileOf("b.test"));
    await setup.hangUp(/in force now/);
  }
  assert(setup.hosts("ci-1").includes("b.test"));
});

Deno.test("startPolicy() looks at the file that it reads, also below ~", async () => {
  await using setup = await setUp(fileOf("a.test"));
  await Deno.chmod(setup.path, 0o666);
  const error = await assertRejects(() => setup.start("~/policy.yaml"), ProxyError);
  assertStringIncludes(error.message, "everybody can write to it");
});

Deno.test("startPolicy() reloads once more for however many SIGHUPs come during a reload", async () => {
  await using setup = await setUp(fileOf("a.test"));
  const started = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  let calls = 0;
  const state = {
    listClients: () => setup.state.listClients(),
    applyPolicy: async (...args: Parameters<State["applyPolicy"]>) => {
      calls++;
      if (calls === 2) {
        started.resolve();
        await release.promise;
      }
      return await setup.state.applyPolicy(...args);
    },
  };
  await using _reload = await setup.start(setup.path, state);
  const keepsRunning = setInterval(() => {}, 60_000);
  Deno.kill(Deno.pid, "SIGHUP");
  await started.promise;
  for (let i = 0; i < 5; i++) {
    const seen = Promise.withResolvers<void>();
    Deno.addSignalListener("SIGHUP", seen.resolve);
    Deno.kill(Deno.pid, "SIGHUP");
    await seen.promise;
    Deno.removeSignalListener("SIGHUP", seen.resolve);
  }
  clearInterval(keepsRunning);
  release.resolve();
  await _reload[Symbol.asyncDispose]();
  assertEquals(calls, 3);
});

for (const code of ["store.away", "store.refused"] as const) {
  Deno.test(`startPolicy() applies the file once a fleet's store takes it that said ${code}`, async () => {
    await using setup = await setUp(fileOf("a.test"));
    const { promise: taken, resolve } = Promise.withResolvers<void>();
    let tries = 0;
    const away: PolicyReloadOptions["state"] = {
      listClients: () => [],
      applyPolicy: async (...args) => {
        tries++;
        if (tries < 4) throw new ProxyError(code, "Cannot change anything: the store is away");
        const applied = await setup.state.applyPolicy(...args);
        resolve();
        return applied;
      },
    };
    await using _policy = await setup.start(setup.path, away);
    assertEquals(setup.lines, [
      "error Cannot change anything: the store is away; the policy of before is in force until the store takes this one",
    ]); // once, however often it is tried
    await taken;
    assertEquals(setup.hosts("ci-1"), ["a.test"]);
    assertEquals(tries, 4);
  });
}
