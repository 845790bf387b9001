/** Traffic of every kind through the real program, then `/metrics` and `status` over its socket: the exact counts. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parseRecord, type StoredRecord } from "../../policy/audit_record.ts";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { type Family, parseExposition, promtool, sampleOf } from "../support/exposition.ts";
import { FakeProvider } from "../support/fake_provider.ts";
import { type Daemon, Program } from "../support/program.ts";
import { openTunnel } from "../support/raw_peer.ts";
import { mountSmallDisk } from "../support/small_disk.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const UP = ["--allow-cidr", "127.0.0.0/8,::1/128", "--upstream-ca", "upstream.pem", "--log-format", "json"];

/** The program in a folder of its own, with a client `one`. */
class Site {
  readonly dir: string;
  readonly program: Program;
  readonly daemon: Daemon;
  readonly token: string;

  constructor(dir: string, program: Program, daemon: Daemon, token: string) {
    this.dir = dir;
    this.program = program;
    this.daemon = daemon;
    this.token = token;
  }

  async allow(...flags: string[]): Promise<void> {
    await this.program.ok(["allow", "one", "--host", "localhost", ...flags]);
  }

  /** The status of each URL, asked for by one curl in one connection. */
  async curl(urls: readonly string[], { token = this.token, flags = [] as readonly string[] } = {}) {
    const proxy = `http://${token === "" ? "" : `proxy:${token}@`}127.0.0.1:${this.daemon.httpPort}`;
    const ca = `${this.dir}/.slicer/ca/sbox/ca.crt`;
    const each = urls.flatMap((url) => [url, "-o", "/dev/null"]);
    const args = ["-sS", "-m", "20", "-x", proxy, "--cacert", ca, "-w", "%{http_code}:%{http_connect} "];
    return await run("curl", [...args, ...flags, ...each]);
  }

  async scrape(): Promise<{ readonly text: string; readonly families: ReadonlyMap<string, Family> }> {
    const socket = `${this.dir}/.slicer/proxy/api.sock`;
    const text = await run("curl", ["-sS", "--unix-socket", socket, "http://localhost/metrics"]);
    return { text, families: parseExposition(text) };
  }

  async status(): Promise<Record<string, unknown>> {
    return JSON.parse(await this.program.ok(["status", "--json"]));
  }
}

async function withSite(work: (site: Site) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-metrics-" });
  try {
    await Deno.writeTextFile(`${dir}/upstream.pem`, (await upstreamAuthority()).caPem);
    const program = new Program(dir);
    await using daemon = await program.up([...UP, "--workers=1"]); // one thread, so that even its caches count alike
    await work(new Site(dir, program, daemon, await program.ok(["client", "create", "one"])));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** The stdout of a program, whatever its exit code: curl fails for a tunnel that was refused. */
async function run(command: string, args: readonly string[]): Promise<string> {
  const { stdout } = await new Deno.Command(command, { args: [...args], stdin: "null", stderr: "null" })
    .output();
  return new TextDecoder().decode(stdout);
}

/** All samples of a metric that are not 0, by their only label. */
function occurred(families: ReadonlyMap<string, Family>, name: string): Record<string, number> {
  const samples = families.get(name)?.samples ?? new Map();
  return Object.fromEntries(
    [...samples].filter(([, value]) => value > 0).map((
      [sample, value],
    ) => [/="(.*)"\}$/.exec(sample)?.[1], value]),
  );
}

/** The figures of the process, by what the system says of it. */
async function checkProcess({ daemon }: Site, families: ReadonlyMap<string, Family>): Promise<void> {
  const proc = `/proc/${daemon.child.pid}`;
  const open = [...Deno.readDirSync(`${proc}/fd`)].length;
  assert(Math.abs(sampleOf(families, "process_open_fds") - open) <= 3, `${open}`); // the scrape's own connection
  const most = /^Max open files +(\d+)/m.exec(await Deno.readTextFile(`${proc}/limits`))?.[1];
  assertEquals(sampleOf(families, "process_max_fds"), Number(most));
  const kib = Number(/^VmRSS:\s+(\d+)/m.exec(await Deno.readTextFile(`${proc}/status`))?.[1]);
  const resident = sampleOf(families, "process_resident_memory_bytes");
  assert(resident > kib * 512 && resident < kib * 2_048, `${resident} and ${kib} KiB`);
  assert(sampleOf(families, "process_cpu_seconds_total") > 0.05);
  assert(Math.abs(sampleOf(families, "process_start_time_seconds") - Date.now() / 1_000) < 120);
}

Deno.test("traffic of every kind is counted exactly", () =>
  withSite(async (site) => {
    await using upstream = await startEchoUpstream({ names: ["localhost"] });
    await using other = await startEchoUpstream({ names: ["localhost"] });
    const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const closedPort = (closed.addr as Deno.NetAddr).port;
    closed.close();
    await site.allow("--port", `${upstream.port}`, "--method", "GET,POST", "--path", "/v1/*");
    await site.allow("--port", `${closedPort}`, "--path", "/v1/*");
    await site.allow("--port", `${other.port}`, "--passthrough");
    const url = (path: string) => `https://localhost:${upstream.port}${path}`;

    await Promise.all([
      // Two answers in one tunnel, one 404, one upload.
      site.curl([url("/v1/a"), url("/v1/b")]).then((codes) => assertEquals(codes, "200:200 200:000 ")),
      site.curl([url("/v1/status/404")]).then((codes) => assertEquals(codes, "404:200 ")),
      site.curl([url("/v1/c")], { flags: ["-d", "x".repeat(1_000)] })
        .then((codes) => assertEquals(codes, "200:200 ")),
      // An upstream that is not there.
      site.curl([`https://localhost:${closedPort}/v1/x`]).then((codes) => assertEquals(codes, "502:200 ")),
      // A tunnel that is passed through, with the upstream's own certificate.
      site.curl([`https://localhost:${other.port}/x`], { flags: ["--cacert", `${site.dir}/upstream.pem`] })
        .then((codes) => assertEquals(codes, "200:200 ")),
      // Denied: by path eight times over (three of them without a line), by token, without token, by host.
      site.curl(Array.from({ length: 8 }, () => url("/elsewhere")))
        .then((codes) => assertEquals(codes.trim().split(" ").length, 8)),
      site.curl([url("/v1/a")], { token: "spi_wrong" }).then((codes) => assertEquals(codes, "000:407 ")),
      site.curl([url("/v1/a")], { token: "" }).then((codes) => assertEquals(codes, "000:407 ")),
      site.curl(["https://nobody.example/"]).then((codes) => assertEquals(codes, "000:403 ")),
    ]);
    const isSettled = async () => {
      const { families } = await site.scrape();
      return ["open_connections", "audit_queued_records"].every((name) =>
        sampleOf(families, `slicer_proxy_${name}`) === 0
      );
    };
    while (!await isSettled());
    const { text, families } = await site.scrape();
    const value = (sample: string) => sampleOf(families, `slicer_proxy_${sample}`);

    assertEquals(occurred(families, "slicer_proxy_requests_total"), { allow: 5, deny: 11, passthrough: 1 });
    assertEquals(occurred(families, "slicer_proxy_denials_total"), {
      "no-rule": 9,
      "auth-invalid": 1,
      "auth-missing": 1,
    });
    assertEquals(occurred(families, "slicer_proxy_failures_total"), { "connect-refused": 1 });
    assertEquals(occurred(families, "slicer_proxy_responses_total"), { "2xx": 3, "4xx": 1, "5xx": 1 });
    assertEquals(value("request_duration_seconds_count"), 5);
    assertEquals(value("setup_duration_seconds_count"), 5); // four that reached the upstream, and the tunnel
    assert(value("setup_duration_seconds_sum") > 0);
    // One for each choice of a protocol: the upstream that is not there could not choose.
    const { hit = 0, miss = 0 } = occurred(families, "slicer_proxy_certificate_cache_lookups_total");
    assertEquals([hit + miss, miss >= 1], [2, true]);
    assertEquals(
      [value("certificate_cache_entries"), value("certificate_mint_duration_seconds_count")],
      [1, 1],
    );
    assertEquals([value("tls_listeners"), value("open_tunnels")], [2, 0]);
    assert(value("idle_upstream_connections") >= 1);
    assertEquals([value("clients"), value("rules"), value("secrets")], [1, 3, 0]);
    assertEquals([value("store_writes_total"), value("store_write_failures_total")], [4, 0]);
    assertEquals(value("store_write_duration_seconds_count"), 4);
    assertEquals([value("audit_writable"), value("audit_queued_records")], [1, 0]);
    assertEquals(value("audit_coalesced_records_total"), 3);
    assertEquals(await promtool(["check", "metrics"], text) ?? "", "");

    if (Deno.build.os === "linux") await checkProcess(site, families);

    const body = await site.status();
    assertEquals(body.requests, { allow: 5, deny: 11, passthrough: 1 });
    assertEquals(body.denials, { "no-rule": 9, "auth-missing": 1, "auth-invalid": 1 });
    assertEquals([body.failures, body.rules], [{ "connect-refused": 1 }, 3]);
    const words = await site.program.ok(["status"]);
    assertMatch(words, /\nrequests +5 allowed, 11 denied, 1 passed through\n/);
    assertMatch(words, /\ndenied +no-rule 9, auth-\w+ 1, auth-\w+ 1\n/);
    assertMatch(words, /\nfailed +connect-refused 1\n/);
    assertMatch(words, /\naudit log +ok\n/);

    // The log says the same, once it is complete.
    await site.daemon.end();
    const records = site.daemon.stdout.text.split("\n").map(parseRecord).filter((each) => each !== undefined);
    const sum = (field: (record: StoredRecord) => number | undefined) =>
      records.reduce((total, record) => total + (field(record) ?? 0), 0);
    assertEquals(sum(({ repeated }) => repeated), 17);
    assertEquals(value("sent_bytes_total"), sum(({ sent }) => sent));
    assertEquals(value("received_bytes_total"), sum(({ received }) => received));
    assert(value("sent_bytes_total") > 1_000);
    const seconds = records.filter(({ verdict }) => verdict === "allow").reduce(
      (total, { durationMs = 0 }) => total + durationMs / 1_000,
      0,
    );
    // Lines have whole milliseconds.
    assert(Math.abs(seconds - value("request_duration_seconds_sum")) <= 0.005, `${seconds}`);
  }));

Deno.test("what is open is a gauge that falls again", () =>
  withSite(async (site) => {
    await using upstream = await startEchoUpstream({ names: [] });
    await site.allow("--port", `${upstream.port}`, "--passthrough");
    const gauges = async () => {
      const { families } = await site.scrape();
      return [
        sampleOf(families, "slicer_proxy_open_connections"),
        sampleOf(families, "slicer_proxy_open_tunnels"),
      ];
    };
    assertEquals(await gauges(), [0, 0]);
    {
      using _one = await openTunnel(site.daemon.httpPort, `localhost:${upstream.port}`, site.token);
      using _two = await openTunnel(site.daemon.httpPort, `localhost:${upstream.port}`, site.token);
      while (`${await gauges()}` !== "2,2");
    }
    while (`${await gauges()}` !== "0,0");
  }));

Deno.test("renewals and secrets in error are counted, and status says what to do", () =>
  withSite(async (site) => {
    await using upstream = await startEchoUpstream({ names: ["localhost"] });
    await using provider = await FakeProvider.start({ host: "127.0.0.1" });
    for (const [name, client_secret] of [["good", "planted secret+%"], ["bad", "planted wrong"]] as const) {
      const value = { token_endpoint: provider.tokenEndpoint, client_id: "id:1", client_secret };
      await site.program.ok(
        [
          ...["secret", "create", name, "--host", "localhost", "--type", "oauth-client-creds"],
          "--value-file",
          "-",
        ],
        { stdin: JSON.stringify(value) },
      );
      await site.allow("--port", `${upstream.port}`, "--path", `/${name}`, "--secret", name);
    }
    const url = (name: string) => `https://localhost:${upstream.port}/${name}`;
    assertEquals(await site.curl([url("good"), url("bad")]), "200:200 502:000 ");
    const { text, families } = await site.scrape();
    assertEquals(occurred(families, "slicer_proxy_secret_renewals_total"), { renewed: 1, refused: 1 });
    assertEquals(sampleOf(families, "slicer_proxy_secret_errors"), 1);
    assertEquals(sampleOf(families, "slicer_proxy_secrets"), 2);
    assertEquals(occurred(families, "slicer_proxy_failures_total"), { "secret-unavailable": 1 });
    const words = await site.program.ok(["status"]);
    assertMatch(words, /\nsecrets that cannot be used:\n {2}bad: .*invalid_client/);
    assertStringIncludes(
      words,
      "slicer-proxy secret create bad --force --host localhost --type oauth-client-creds --value-file FILE",
    );
    for (const said of [text, words, JSON.stringify(await site.status())]) {
      assertEquals(said.includes("planted"), false);
      assertEquals(said.includes(provider.accessToken), false);
    }
  }));

Deno.test("a full disk shows in the metrics and in status, and so does its end", async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-metrics-" });
  try {
    await using disk = await mountSmallDisk(`${dir}/disk`, "64k");
    if (!disk) {
      await t.step({ name: "skipped: only root may mount a small tmpfs", ignore: true, fn: () => {} });
      return;
    }
    const program = new Program(dir);
    await using daemon = await program.up(["--log-file", `${dir}/disk/audit.log`]);
    const site = new Site(dir, program, daemon, "");
    const fill = await Deno.open(`${dir}/disk/fill`, { create: true, write: true });
    try {
      for (;;) await fill.write(new Uint8Array(4_096));
    } catch {
      fill.close();
    }
    await site.curl(["http://nobody.example/"]); // refused for its token, and its line cannot be written
    let { families } = await site.scrape();
    while (sampleOf(families, "slicer_proxy_audit_writable") === 1) ({ families } = await site.scrape());
    assertEquals(sampleOf(families, "slicer_proxy_audit_queued_records"), 1);
    assert(sampleOf(families, "slicer_proxy_audit_write_failures_total") >= 1);
    assertMatch(await program.ok(["status"]), /\naudit log +CANNOT BE WRITTEN, .*, 1 record waiting\n/);
    await Deno.remove(`${dir}/disk/fill`);
    while (sampleOf(families, "slicer_proxy_audit_writable") === 0) ({ families } = await site.scrape());
    assertEquals(sampleOf(families, "slicer_proxy_audit_queued_records"), 0);
    assertMatch(await program.ok(["status"]), /\naudit log +ok, \d+ failed writes?\n/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("status without a proxy fails and says how to start one", async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-metrics-" });
  try {
    const { code, stdout, stderr } = await new Program(dir).run(["status"]);
    assertEquals([code, stdout], [1, ""]);
    assertMatch(
      stderr,
      /^error: cannot reach .*\nhint: is the proxy running\? start it with slicer-proxy up/,
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
