/** The policy as one file, with the real program: applied, again, exported, at start and at SIGHUP. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { startRawUpstream } from "../support/echo_upstream.ts";
import { Program } from "../support/program.ts";
import { openTunnel, type RawPeer } from "../support/raw_peer.ts";
import { soon } from "../support/sockets.ts";

const VALUE = "sk-planted-in-the-policy-test";

/** A folder with a program, and an upstream that sends every line back. */
async function setUp() {
  const stack = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const upstream = stack.use(
    await startRawUpstream(async (peer) => {
      for (;;) await peer.send(await peer.readUntil("\n"));
    }, { names: [] }),
  );
  return {
    program: new Program(dir),
    port: upstream.port,
    write: (name: string, text: string) => Deno.writeTextFile(`${dir}/${name}`, text),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** A policy whose client `ci-1` may reach these hosts, and the upstream by passthrough when `port` is given. */
function policyOf(hosts: readonly string[], port?: number): string {
  const rules = hosts.map((host) => `{ host: "${host}" }`);
  const passthrough = port === undefined ? [] : [`{ host: 127.0.0.1, ports: [${port}], passthrough: true }`];
  return `version: 1\nclients:\n  ci-1: { allow: [${[...rules, ...passthrough].join(", ")}] }\n`;
}

async function echoes(tunnel: RawPeer): Promise<void> {
  await tunnel.send("hello\n");
  assertEquals(await soon("the echo", tunnel.readUntil("\n")), "hello\n");
}

async function ends(tunnel: RawPeer): Promise<void> {
  await soon("the end of the tunnel", tunnel.readAll().catch(() => ""));
}

const UP = ["--allow-cidr", "127.0.0.0/8"];

Deno.test("apply: a tunnel goes on while its rule is kept, and ends when the rule goes", async () => {
  await using setup = await setUp();
  const { program, port, write } = setup;
  await write("policy.yaml", policyOf(["a.test"], port));
  await using daemon = await program.up(UP);
  const first = await program.run(["apply", "-f", "policy.yaml"]);
  assertEquals(first.code, 0, first.stderr);
  const [, token = ""] = /^ci-1 (spi_[\w-]{43})\n$/.exec(first.stdout) ?? [];
  assertStringIncludes(
    first.stderr,
    `+ client ci-1\n    + 1. a.test\n    + 2. 127.0.0.1  passthrough  ports ${port}\n`,
  );

  const again = await program.run(["apply", "-f", "policy.yaml", "--prune"]);
  assertEquals(again, { code: 0, stdout: "", stderr: "nothing to change\n" });

  using tunnel = await openTunnel(daemon.httpPort, `127.0.0.1:${port}`, token);
  await echoes(tunnel);
  await write("policy.yaml", policyOf(["b.test", "c.test"], port));
  const second = await program.run(["apply", "-f", "policy.yaml", "--prune"]);
  assertEquals([second.code, second.stdout], [0, ""]);
  await echoes(tunnel);
  await write("policy.yaml", policyOf(["b.test"]));
  await program.ok(["client", "budget", "ci-1", "--requests", "10/h"]);
  const dry = await program.run(["apply", "-f", "policy.yaml", "--prune", "--dry-run"]);
  assertStringIncludes(dry.stderr, "~ client ci-1\n    ~ budget none\n");
  assertStringIncludes(dry.stderr, "    - 3. 127.0.0.1  passthrough");
  await echoes(tunnel);
  await program.ok(["apply", "-f", "policy.yaml", "--prune"]);
  await ends(tunnel);
  assertEquals((daemon.stdout.text + daemon.stderr.text).includes(token), false);
});

Deno.test("export: what is in force is applied without a change, here and elsewhere", async () => {
  await using setup = await setUp();
  const { program, port, write } = setup;
  await using daemon = await program.up(UP);
  const secret = ["secret", "create", "key", "--host", "*.example.com", "--value-file", "-"];
  await program.ok(secret, { stdin: VALUE });
  const token = await program.ok(["client", "create", "ci-1"]);
  for (
    const rule of [
      "--host *.example.com --secret key --method GET,POST --path /v1/*",
      "--host a.test --ttl 1h",
      `--host 127.0.0.1 --port ${port} --passthrough`,
      "--host *",
    ]
  ) await program.ok(["allow", "ci-1", ...rule.split(" ")]);
  const yaml = await program.ok(["export"]);
  assertMatch(
    yaml,
    /^version: 1\nsecrets:\n {2}key: \{ host: "\*\.example\.com", type: bearer \}\nclients:\n/,
  );
  for (const text of [yaml, await program.ok(["export", "--json"])]) {
    assertEquals([text.includes(VALUE), text.includes(token)], [false, false]);
    const { stderr } = await program.run(["apply", "-f", "-", "--prune"], { stdin: text });
    assertEquals(stderr, "nothing to change\n");
  }
  assertEquals(JSON.parse(await program.ok(["export", "--schema"])).title, "Policy file of slicer-proxy");

  await write("policy.yaml", `${yaml}\n`);
  await using other = await program.up([...UP, "--state-dir", "other", "--ca-dir", "other"]);
  const url = ["--url", "./other/api.sock"];
  const refused = await program.run(["apply", "-f", "policy.yaml", ...url]);
  assertEquals(refused.code, 1);
  assertStringIncludes(
    refused.stderr,
    "error: cannot apply policy.yaml:3:8: there is no secret key\nhint: create it: ",
  );
  assertEquals(await program.ok(["client", "list", "--json", ...url]), "[]");
  await program.ok([...secret, ...url], { stdin: VALUE });
  assertMatch(await program.ok(["apply", "-f", "policy.yaml", ...url]), /^ci-1 spi_/);
  assertEquals(await program.ok(["export", ...url]), yaml);
  await other.end();
  await daemon.end();
});

Deno.test("up --policy: in force at start, reloaded at SIGHUP, left alone when the file is bad", async () => {
  await using setup = await setUp();
  const { program, port, write } = setup;
  await write("policy.yaml", policyOf(["a.test"], port));
  const rules = async () => {
    const list: { host: string }[] = JSON.parse(await program.ok(["rules", "ci-1", "--json"]));
    return list.map(({ host }) => host);
  };
  await using daemon = await program.up([...UP, "--policy", "policy.yaml"]);
  await daemon.waitWords(/ci-1: nobody has a token yet/);
  const token = await program.ok(["client", "rotate", "ci-1"]);
  using tunnel = await openTunnel(daemon.httpPort, `127.0.0.1:${port}`, token);
  await echoes(tunnel);

  await write("policy.yaml", `${policyOf(["b.test"], port)}x: 1\n`);
  daemon.child.kill("SIGHUP");
  await daemon.waitWords(
    /error policy: Cannot read policy\.yaml:4:1: unknown key "x" .* nothing was changed\n/,
  );
  assertEquals(await rules(), ["a.test", "127.0.0.1"]);
  await echoes(tunnel);

  await write("policy.yaml", policyOf(["b.test"], port));
  daemon.child.kill("SIGHUP");
  await daemon.waitWords(/client ci-1 changed, rules: 1 added, 1 removed\n/);
  assertEquals(await rules(), ["b.test", "127.0.0.1"]);
  await echoes(tunnel);

  await write("policy.yaml", policyOf(["b.test"]));
  daemon.child.kill("SIGHUP");
  await ends(tunnel);
  assertEquals(await rules(), ["b.test"]);
  const { code } = await daemon.end();
  assertEquals(code, 0);
  assertEquals(daemon.stdout.text.includes("spi_") || daemon.stderr.text.includes("spi_"), false);

  await using restarted = await program.up([...UP, "--policy", "policy.yaml"]);
  assert(/policy\.yaml is in force, nothing to change\n/.test(restarted.stderr.text));
});

Deno.test("up without --policy goes on at SIGHUP, and what is open stays open", async () => {
  await using setup = await setUp();
  const { program, port } = setup;
  await using daemon = await program.up(UP);
  const token = await program.ok(["client", "create", "ci-1"]);
  await program.ok(["allow", "ci-1", "--host", "127.0.0.1", "--port", `${port}`, "--passthrough"]);
  using tunnel = await openTunnel(daemon.httpPort, `127.0.0.1:${port}`, token);
  await echoes(tunnel);
  for (let i = 0; i < 2; i++) daemon.child.kill("SIGHUP");
  await daemon.waitWords(/info up: SIGHUP: there is no --policy to read again, going on\n/);
  await echoes(tunnel);
  assertEquals(JSON.parse(await program.ok(["rules", "ci-1", "--json"])).length, 1);
});
