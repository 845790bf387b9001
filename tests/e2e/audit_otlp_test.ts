/** `up --audit-otlp` as a process: every record of the log gets to the collector, over `kill -9` and a collector that fails. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parseRecord } from "../../policy/audit_record.ts";
import { parseExposition, sampleOf } from "../support/exposition.ts";
import { OtlpReceiver } from "../support/otlp_receiver.ts";
import { type Daemon, Program } from "../support/program.ts";
import { basic, dialRaw } from "../support/raw_peer.ts";
import { waitUntil } from "../support/sockets.ts";

const KILLS = 4;

/** Asks for hosts that nobody may reach, one after the other: each has a line of its own. */
async function ask(daemon: Daemon, token: string | undefined, hosts: readonly string[]): Promise<void> {
  const auth = token === undefined ? "" : `Proxy-Authorization: ${basic(token)}\r\n`;
  for (const host of hosts) {
    using peer = await dialRaw(daemon.httpPort);
    await peer.send(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n${auth}\r\n`);
    assertEquals((await peer.readResponse()).status, token === undefined ? 407 : 403);
  }
}

async function hostsOfLog(dir: string): Promise<string[]> {
  const text = await Deno.readTextFile(`${dir}/.slicer/proxy/audit.jsonl`);
  return text.split("\n").flatMap((line) => {
    const record = parseRecord(line);
    return record?.verdict === "deny" && record.host !== undefined ? [record.host] : [];
  });
}

Deno.test("up --audit-otlp: what is in the log gets to the collector, over kill -9 and its own failures", async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-otlp-" });
  try {
    await using receiver = new OtlpReceiver();
    let n = 0;
    receiver.behave = () => ++n % 3 === 1 ? new Response("", { status: 503 }) : undefined;
    const program = new Program(dir);
    const flags = ["--workers=1", `--audit-otlp=${receiver.url}`];
    let token = "";
    for (let run = 0; run < KILLS; run++) {
      const daemon = await program.up(flags);
      try {
        if (run === 0) token = await program.ok(["client", "create", "one"]);
        const hosts = Array.from({ length: 60 }, (_, i) => `run${run}-${i}.test`);
        await ask(daemon, token, hosts);
        if (run === 1) await waitUntil("a request", () => receiver.requests.length > 0);
        const late = ask(daemon, token, [`late${run}.test`]).catch(() => {});
        await daemon.end("SIGKILL");
        await late;
      } finally {
        await daemon.end("SIGKILL");
      }
    }
    {
      await using daemon = await program.up(flags);
      await ask(daemon, token, ["last.test"]);
      const hosts = await (async () => {
        await daemon.waitLine(/host=last\.test/);
        return await hostsOfLog(dir);
      })();
      assert(hosts.length > KILLS * 30, `${hosts.length} lines survived`);
      const received = () => new Set(receiver.taken.map(({ attributes }) => attributes["server.address"]));
      await waitUntil("all of the log", () => {
        const all = received();
        return hosts.every((host) => all.has(host));
      });
      await waitUntil("marked", async () => (await status(program)).queued === 0);
    }
    const byUid = new Map(receiver.taken.map(({ attributes, body }) => [attributes["log.record.uid"], body]));
    for (const { attributes, body } of receiver.taken) {
      assertEquals(byUid.get(attributes["log.record.uid"]), body, "one uid, one record");
    }
    assertEquals(new Set(receiver.taken.map(({ resource }) => resource["service.instance.id"])).size, 1);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

async function status(program: Program): Promise<Record<string, unknown>> {
  return JSON.parse(await program.ok(["status", "--json"])).audit_log.otlp;
}

Deno.test("up --audit-otlp: status, metrics and the log say how it goes; the proxy does not wait for it", async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-otlp-" });
  const hang = Promise.withResolvers<void>();
  try {
    await using receiver = new OtlpReceiver();
    receiver.behave = async () => {
      await hang.promise;
      return new Response("", { status: 401 });
    };
    await Deno.writeTextFile(`${dir}/headers`, "Authorization: Bearer planted-token\n");
    const program = new Program(dir);
    await using daemon = await program.up([
      `--audit-otlp=${receiver.url}`,
      "--audit-otlp-headers-file=headers",
    ]);
    const token = await program.ok(["client", "create", "one"]);
    await ask(daemon, token, Array.from({ length: 30 }, (_, i) => `h${i}.test`));
    await ask(daemon, undefined, ["nobody.test"]);
    await daemon.waitLine(/client=- /);
    await waitUntil("it is asked", () => receiver.requests.length > 0);
    assertEquals(await status(program), { queued: 31, sent: 0, dropped: 0, failures: 0 });
    hang.resolve();
    await daemon.waitWords(
      /warning audit-otlp: the collector at 127\.0\.0\.1:\d+ takes no records: it answered with 401/,
    );
    const failing = await status(program);
    assertEquals([failing.queued, failing.failing], [31, "it answered with 401"]);
    assertMatch(
      await program.ok(["status"]),
      /^collector +TAKES NONE: it answered with 401, 0 sent, 31 waiting$/m,
    );
    receiver.behave = () => undefined;
    await receiver.waitFor(31);
    await daemon.waitWords(/info audit-otlp: the collector at \S+ takes records again/);
    await waitUntil("marked", async () => (await status(program)).queued === 0);
    assertMatch(await program.ok(["status"]), /^collector +ok, 31 sent, 0 waiting$/m);
    const scrape = await new Deno.Command("curl", {
      args: ["-sS", "--unix-socket", `${dir}/.slicer/proxy/api.sock`, "http://localhost/metrics"],
    }).output();
    const families = parseExposition(new TextDecoder().decode(scrape.stdout));
    const figures = ["queued_records", "failing", "sent_records_total", "dropped_records_total"].map((name) =>
      sampleOf(families, `slicer_proxy_audit_otlp_${name}`)
    );
    assertEquals(figures, [0, 0, 31, 0]);
    assertEquals(receiver.requests[0]?.headers.get("authorization"), "Bearer planted-token");
    assert(!daemon.stderr.text.includes("planted-token"));
    for (const folder of ["otlp", "otlp-unauthenticated"]) {
      const { mode } = await Deno.stat(`${dir}/.slicer/proxy/${folder}`);
      assertEquals((mode ?? 0) & 0o777, 0o700);
    }
  } finally {
    hang.resolve();
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("up --audit-otlp refuses what it cannot use before it listens", async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-otlp-" });
  try {
    const program = new Program(dir);
    const rows: readonly (readonly [readonly string[], string])[] = [
      [["--audit-otlp=http://8.8.8.8:4318"], "http is for loopback and private addresses"],
      [["--audit-otlp-ca=x"], "error: Cannot use --audit-otlp-headers-file or --audit-otlp-ca alone"],
      [["--audit-otlp=https://localhost", "--audit-otlp-headers-file=none"], "there is no such file"],
      [["--audit-otlp=https://localhost", "--audit-otlp-ca=none"], "Cannot read the upstream CA none"],
    ];
    for (const [flags, words] of rows) {
      const { code, stderr } = await program.run(["up", "--http-port=1", "--https-port=2", ...flags]);
      assert(code !== 0);
      assertStringIncludes(stderr.toLowerCase(), words.toLowerCase());
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
