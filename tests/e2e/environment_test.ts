/**
 * No signal and no variable of the environment opens a debugger, logs TLS keys, adds trust or moves the state, tried on real
 * processes: from source, and on the compiled binary with SLICER_PROXY_BIN.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { BINARY, freePorts, Program } from "../support/program.ts";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { RawPeer } from "../support/raw_peer.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

async function withProgram(work: (program: Program) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-environment-" });
  try {
    await work(new Program(dir));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** The TCP ports that a process listens on, by the kernel's own tables. */
async function listeningPorts(pid: number): Promise<readonly number[]> {
  const inodes = new Set<string>();
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
    const link = await Deno.readLink(`/proc/${pid}/fd/${name}`).catch(() => "");
    const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  const rows = ["tcp", "tcp6"].flatMap((table) =>
    Deno.readTextFileSync(`/proc/net/${table}`).split("\n").slice(1)
  );
  return rows.map((row) => row.trim().split(/\s+/))
    .filter((columns) => columns[3] === "0A" && inodes.has(columns[9] ?? ""))
    .map((columns) => parseInt(columns[1]?.split(":")[1] ?? "", 16))
    .sort((a, b) => a - b);
}

Deno.test("up refuses what would log keys or open a debugger", async (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ["SSLKEYLOGFILE", "keys.log"],
    ["NODE_OPTIONS", "--inspect=127.0.0.1:0"],
    ["NODE_OPTIONS", "--no-warnings --inspect-brk=127.0.0.1:0"],
    ["NODE_OPTIONS", "--tls-keylog=keys.log"],
    ["DENO_V8_FLAGS", "--expose-gc"],
    ["NODE_DEBUG", "tls"],
    ["OTEL_DENO", "true"],
    ["DENO_INSPECT", "127.0.0.1:0"],
  ];
  for (const [name, value] of rows) {
    await t.step(`${name}=${value}`, () =>
      withProgram(async (program) => {
        // A debugger that waits for its client would never get to main: source only, and then no secret is there either.
        if (BINARY === undefined && value.includes("--inspect-brk")) return;
        const { code, stderr } = await program.run(["up"], { env: { [name]: value } });
        assertEquals(code, 2, stderr);
        assertStringIncludes(stderr, `cannot run with ${name} set`);
        if (BINARY !== undefined) assert(!stderr.includes("Debugger"), stderr);
        // The runtime itself makes the file of SSLKEYLOGFILE before main runs, and has nothing to write to it yet.
        const files = [...Deno.readDirSync(program.dir)].map((entry) =>
          Deno.statSync(`${program.dir}/${entry.name}`)
        );
        assert(files.every(({ isFile, size }) => isFile && size === 0), "something was written");
      }));
  }
});

Deno.test({
  name: "no signal makes a running proxy listen for a debugger",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    withProgram(async (program) => {
      for (
        const signal of ["SIGUSR1", "SIGUSR2", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGWINCH", "SIGURG"] as const
      ) {
        const daemon = await program.up();
        const before = await listeningPorts(daemon.child.pid);
        // Deno 2.9.6 gets ready for a debugger only half a second after the start.
        if (BINARY === undefined) await new Promise((resolve) => setTimeout(resolve, 1_000));
        assert(before.includes(daemon.httpPort) && before.includes(daemon.httpsPort), `${before}`);
        daemon.child.kill(signal);
        // A debugger would listen within a few milliseconds; answering a command takes longer.
        const { code } = await program.run(["client", "list"]);
        if (signal === "SIGUSR1") assertEquals(code, 0, "SIGUSR1 stopped it");
        if (code === 0) assertEquals(await listeningPorts(daemon.child.pid), before, signal);
        await daemon.end();
        assert(!daemon.stderr.text.includes("Debugger"), daemon.stderr.text);
      }
    }),
});

Deno.test({
  name: "SIGUSR1 at any moment of the start makes the compiled binary listen for no debugger",
  ignore: BINARY === undefined || Deno.build.os !== "linux",
  fn: () =>
    withProgram(async (program) => {
      for (const delayMs of [0, 5, 10, 20, 40, 60, 80, 100, 150]) {
        const [http, https] = freePorts();
        const child = program.spawn(["up", "--http-port", `${http}`, "--https-port", `${https}`]);
        await new Promise((resolve) => setTimeout(resolve, delayMs));
        child.kill("SIGUSR1");
        await new Promise((resolve) => setTimeout(resolve, 150));
        try {
          child.kill("SIGTERM");
        } catch {
          // The signal ended it.
        }
        await child.stdin.close().catch(() => {});
        const { stderr } = await child.output();
        assert(!new TextDecoder().decode(stderr).includes("Debugger"), `after ${delayMs} ms`);
      }
    }),
});

Deno.test("variables of the runtime add no trust upstream", async (t) => {
  await using upstream = await startEchoUpstream({ names: ["localhost"] });
  const { caPem } = await upstreamAuthority();
  const rows: readonly (readonly [string, string, readonly string[], RegExp])[] = [
    ["NODE_EXTRA_CA_CERTS", "upstream.crt", [], / 502 /],
    ["DENO_CERT", "upstream.crt", [], / 502 /],
    ["NODE_TLS_REJECT_UNAUTHORIZED", "0", [], / 502 /],
    ["DENO_TLS_CA_STORE", "system", [], / 502 /],
    ["nothing", "", ["--upstream-ca", "upstream.crt"], / 200 /],
  ];
  for (const [name, value, flags, status] of rows) {
    await t.step(`${name}=${value} ${flags.join(" ")}`, () =>
      withProgram(async (program) => {
        await Deno.writeTextFile(`${program.dir}/upstream.crt`, caPem);
        const env = { [name]: value, SSL_CERT_FILE: `${program.dir}/upstream.crt` };
        await using daemon = await program.up(["--allow-cidr", "127.0.0.0/8,::1/128", ...flags], env);
        const token = await program.ok(["client", "create", "one"]);
        await program.ok(["allow", "one", "--host", "localhost", "--port", `${upstream.port}`]);
        const tcp = await Deno.connect({ hostname: "127.0.0.1", port: daemon.httpPort });
        const outer = new RawPeer(tcp);
        const auth = `Proxy-Authorization: Bearer ${token}`;
        const authority = `localhost:${upstream.port}`;
        await outer.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${auth}\r\n\r\n`);
        assertMatch(await outer.readHead(), /^HTTP\/1.1 200 /);
        const caCerts = [await Deno.readTextFile(`${program.dir}/.slicer/ca/sbox/ca.crt`)];
        using tls = await Deno.startTls(tcp, { hostname: "localhost", caCerts });
        const inner = new RawPeer(tls);
        await inner.send(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
        assertMatch((await inner.readHead()).split("\r\n", 1)[0] ?? "", status);
        if (value !== "" && name !== "DENO_TLS_CA_STORE") {
          assertStringIncludes(daemon.stderr.text, `${name} is set and has no effect`);
        }
      }));
  }
});

Deno.test("variables of the runtime move neither the state nor the API", () =>
  withProgram(async (program) => {
    const [elsewhere, apiPort] = freePorts();
    const env = {
      DENO_KV_DB_MODE: "memory",
      DENO_KV_PATH_PREFIX: `${program.dir}/elsewhere`,
      DENO_SERVE_ADDRESS: `tcp:127.0.0.1:${elsewhere}`,
    };
    {
      await using _daemon = await program.up(["--api-bind", `127.0.0.1:${apiPort}`], env);
      await program.ok(["client", "create", "kept"]);
      const api = await Deno.connect({ hostname: "127.0.0.1", port: apiPort });
      api.close();
      const moved = await Deno.connect({ hostname: "127.0.0.1", port: elsewhere }).catch(() => undefined);
      moved?.close();
      assertEquals(moved, undefined, "the API listens where DENO_SERVE_ADDRESS says");
    }
    await using _daemon = await program.up();
    assertStringIncludes(await program.ok(["client", "list"]), "kept");
  }));
