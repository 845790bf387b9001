/** One CA for all hosts of a fleet: a VM that trusts one host goes to another, with the real permissions. */
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { describeAuthority } from "../../ca/authority.ts";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { FleetHost, hostsOf } from "../support/fleet_host.ts";
import { postgresMissing, PostgresServer } from "../support/postgres.ts";
import { type Daemon, Program } from "../support/program.ts";
import { openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";
import { upstreamAuthority } from "../support/test_authority.ts";
import { until } from "../unit/store/fleet_support.ts";

/** More than there are workers: the system deals connections out among them. */
const TRIES = 8;

/** VMs' requests to one upstream, and what an operator reads. */
class Traffic {
  readonly #target: string;
  token = "";

  constructor(port: number) {
    this.#target = `localhost:${port}`;
  }

  open({ httpPort }: Daemon, caPem: string): Promise<RawPeer> {
    return openTlsTunnel(httpPort, this.#target, this.token, caPem);
  }

  async ask(tunnel: RawPeer): Promise<void> {
    await tunnel.send(`GET /a HTTP/1.1\r\nHost: ${this.#target}\r\n\r\n`);
    assertEquals((await tunnel.readResponse()).status, 200);
  }

  /** A VM that trusts `caPem` alone is served on every thread of a host. */
  async isServed(daemon: Daemon, caPem: string): Promise<void> {
    for (let n = 0; n < TRIES; n++) {
      using tunnel = await this.open(daemon, caPem);
      await this.ask(tunnel);
    }
  }

  /** Every thread of a host shows what that VM does not trust. */
  async isRefused(daemon: Daemon, caPem: string): Promise<void> {
    for (let n = 0; n < TRIES; n++) {
      await assertRejects(() => this.open(daemon, caPem), Error, "certificate");
    }
  }
}

async function setUp(program: Program, port: number): Promise<Traffic> {
  const traffic = new Traffic(port);
  traffic.token = await program.ok(["client", "create", "one"]);
  await program.ok(["allow", "one", "--host", "localhost", "--port", String(port), "--path", "/a"]);
  return traffic;
}

/** The texts of all files below a folder. */
async function textsBelow(dir: string): Promise<string> {
  let texts = "";
  for await (const { name, isFile, isDirectory } of Deno.readDir(dir)) {
    if (isDirectory) texts += await textsBelow(`${dir}/${name}`);
    else if (isFile) texts += new TextDecoder("latin1").decode(await Deno.readFile(`${dir}/${name}`));
  }
  return texts;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

Deno.test("ca import: a VM that trusts the CA of one host goes to the others, and stays after it was replaced", async (t) => {
  const missing = await postgresMissing();
  if (missing !== undefined) {
    return void await t.step({ name: `skipped: ${missing}`, ignore: true, fn: () => {} });
  }
  await using server = await PostgresServer.start();
  await using upstream = await startEchoUpstream({ names: ["localhost"] });
  const root = await Deno.makeTempDir({ prefix: "slicer-ca-" });
  try {
    await Deno.writeTextFile(`${root}/upstream.crt`, (await upstreamAuthority()).caPem);
    const options = { server, grace: "60s", sealKeyFile: `${root}/seal.key` };
    const hosts = ["host-1", "host-2", "host-3"].map((name) => new FleetHost(`${root}/${name}`, options));
    const [one, two, three] = hosts;
    assert(one && two && three);
    const up = (host: FleetHost) => host.up(["--upstream-ca", `${root}/upstream.crt`]);
    const fileOf = (name: string) => Deno.readTextFile(`${root}/${name}/.slicer/ca/sbox/ca.crt`);
    const shownBy = async ({ program }: FleetHost) => JSON.parse(await program.ok(["ca", "show", "--json"]));

    await using a = await up(one);
    await using b = await up(two);
    const traffic = await setUp(one.program, upstream.port);
    const [caA, caB] = [await fileOf("host-1"), await fileOf("host-2")];
    assertStringIncludes(b.stderr.text, "is this host's alone: slicer-proxy ca import gives it to the fleet");
    using before = await traffic.open(b, caB);
    await traffic.ask(before);
    await traffic.isServed(b, caB);
    await traffic.isRefused(b, caA);
    assertEquals((await shownBy(two)).from, "file");

    const imported = await one.program.run(["ca", "import"]);
    assertEquals([imported.code, hostsOf(imported)], [0, "2 of 2"], imported.stderr);
    const { fingerprint } = await describeAuthority(`${root}/host-1/.slicer/ca/sbox`);
    assertMatch(
      imported.stdout,
      new RegExp(`^imported the CA of sbox, valid until 20.*, SHA-256 ${fingerprint}\\n$`),
    );
    assertMatch(imported.stderr, /ca\.key is not read any more while the store has the CA/);
    // At once, in all threads, and what is open goes on.
    for (const host of [a, b]) await traffic.isServed(host, caA);
    await traffic.isRefused(b, caB);
    await traffic.ask(before);
    await b.waitWords(
      new RegExp(`the CA of host group sbox is that of the store from now on, SHA-256 ${fingerprint}`),
    );

    assertEquals((await b.end()).code, 0);
    await using again = await up(two);
    assertStringIncludes(again.stderr.text, "the CA in ./.slicer/ca/sbox (SHA-256");
    assertStringIncludes(
      again.stderr.text,
      ") is not used: the store has another for host group sbox (SHA-256",
    );
    await traffic.isServed(again, caA);

    // A host that never had a file of it.
    await using c = await up(three);
    await traffic.isServed(c, caA);
    for (const host of hosts) {
      const shown = await shownBy(host);
      assertEquals([shown.hostgroup, shown.from, shown.fingerprint, shown.certificate], [
        "sbox",
        "store",
        fingerprint,
        caA,
      ]);
      assertEquals(JSON.stringify(shown).includes("PRIVATE"), false);
    }
    const status = await one.program.ok(["store", "status", ...storeFlags(server)]);
    assertMatch(status, new RegExp(`^CA +of host group sbox, until 20.*, SHA-256 ${fingerprint}$`, "m"));

    await one.program.ok(["ca", "init", "--ca-dir", "./other"]);
    const refused = await one.program.run(["ca", "import", "--from", "./other"]);
    assertEquals(refused.code, 1);
    assertMatch(
      refused.stderr,
      /the store has another \(SHA-256 .*\)\nhint: with --replace it takes that one's place/,
    );
    await traffic.isServed(c, caA);
    const replaced = await one.program.run(["ca", "import", "--from", "./other", "--replace"]);
    assertEquals([replaced.code, hostsOf(replaced)], [0, "3 of 3"], replaced.stderr);
    assertStringIncludes(replaced.stderr, `it takes the place of SHA-256 ${fingerprint}`);
    const caNew = await Deno.readTextFile(`${root}/host-1/other/ca.crt`);
    for (const host of [a, again, c]) {
      await traffic.isServed(host, caNew);
      await traffic.isRefused(host, caA);
    }

    // While the store is away, after a start too.
    await until("the copy is written", () => exists(`${root}/host-3/.slicer/proxy/fleet-copy`));
    await server.crash();
    await c.waitWords(/the store is away/);
    assertEquals((await c.end("SIGKILL")).success, false);
    await using late = await up(three);
    await traffic.isServed(late, caNew);
    assertEquals(await exists(`${root}/host-3/.slicer/ca`), false);
    assertEquals((await textsBelow(`${root}/host-3`)).includes("PRIVATE KEY"), false);
    assertEquals((await late.end()).code, 0);
    await server.begin();
    const rows = await server.sql("SELECT encode(value, 'escape') FROM slicer_proxy.rows");
    const changes = await server.sql("SELECT mutations FROM slicer_proxy.changes");
    assertStringIncludes(rows, "BEGIN CERTIFICATE");
    for (const text of [rows, changes, atobAll(changes)]) assertEquals(text.includes("PRIVATE KEY"), false);

    // A host of a group that the store does not have makes no CA that nobody trusts.
    const stray = await three.program.run(["up", ...three.flags, "--hostgroup", "lab"]);
    assertEquals(stray.code, 1);
    assertMatch(
      stray.stderr,
      /cannot find the CA of host group lab: the store has that of sbox, and .*lab has none/,
    );
    await Deno.writeTextFile(`${root}/wrong.key`, `${"ab".repeat(32)}\n`, { mode: 0o600 });
    const wrong = await three.program.run([
      "up",
      ...three.flags.map((flag) => flag === options.sealKeyFile ? `${root}/wrong.key` : flag),
    ]);
    assertMatch(wrong.stderr, /is not the one that it (?:is|was) sealed with/);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

function storeFlags(server: PostgresServer): readonly string[] {
  return ["--store", server.url, "--store-password-file", server.passwordFile, "--store-ca", server.caFile];
}

/** What is written in base64 in a list of changes. */
function atobAll(text: string): string {
  return [...text.matchAll(/"v": ?"([A-Za-z0-9+/=]+)"/g)].map(([, value = ""]) => atob(value)).join("\n");
}

Deno.test("ca import on a host alone: its CA is sealed in the state folder, and signs without its files", async () => {
  await using upstream = await startEchoUpstream({ names: ["localhost"] });
  const dir = await Deno.makeTempDir({ prefix: "slicer-ca-" });
  try {
    await Deno.writeTextFile(`${dir}/upstream.crt`, (await upstreamAuthority()).caPem);
    const program = new Program(dir);
    const flags = ["--workers=1", "--allow-cidr=127.0.0.0/8,::1/128", "--upstream-ca=upstream.crt"];
    let traffic: Traffic;
    let caPem: string;
    {
      await using daemon = await program.up(flags);
      traffic = await setUp(program, upstream.port);
      caPem = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
      await program.ok(["ca", "init", "--ca-dir", "./new"]);
      const other = await program.run(["ca", "import", "--from", "./new"]);
      assertMatch(other.stderr, /cannot import the CA of host group sbox: this host uses another \(SHA-256/);
      await program.ok(["ca", "import"]);
      assertMatch(await program.ok(["ca", "show"]), /^from +store$/m);
      await traffic.isServed(daemon, caPem);
      await program.ok(["ca", "import", "--from", "./new", "--replace"]);
      await traffic.isRefused(daemon, caPem);
      await program.ok(["ca", "import", "--replace"]); // and back
      await traffic.isServed(daemon, caPem);
    }
    await Deno.remove(`${dir}/.slicer/ca`, { recursive: true });
    await Deno.remove(`${dir}/new`, { recursive: true });
    await using daemon = await program.up(flags);
    await traffic.isServed(daemon, caPem);
    await program.ok(["seal-key", "rotate"]);
    await traffic.isServed(daemon, caPem);
    assertEquals((await textsBelow(dir)).includes("PRIVATE KEY"), false);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
