/**
 * Measures a compiled binary: `deno run -A scripts/compile_measure.ts [dist/slicer-proxy] [tunnels]`. Prints its size, the
 * time of `version`, the time from start until both ports accept, its memory when idle, and what an idle inspected tunnel
 * adds. Linux only: memory is read from /proc. The figures in docs/INSTALL.md come from here.
 *
 * Not here: load and comparisons (`bench/`).
 *
 * @module
 */

const RUNS = 11;

async function main([binary = "dist/slicer-proxy", count = "1000"]: readonly string[]): Promise<void> {
  const path = await Deno.realPath(binary);
  const dir = await Deno.makeTempDir();
  try {
    say(`size               ${((await Deno.stat(path)).size / 1e6).toFixed(1)} MB`);
    say(`version            ${median(await times(() => runToEnd(path, dir, ["version"])))} ms`);
    const starts: number[] = [];
    for (let i = 0; i < RUNS; i++) {
      const startedAt = performance.now();
      await using _proxy = await start(path, dir);
      starts.push(performance.now() - startedAt);
    }
    say(
      `start to listening ${median(starts.slice(1))} ms (first start, which makes CA and state: ${
        ms(starts[0] ?? 0)
      } ms)`,
    );
    await using proxy = await start(path, dir);
    await pause(3_000);
    const idle = rssKib(proxy.pid);
    say(`idle memory        ${mib(idle)} MiB`);
    const token = await runToEnd(path, dir, ["client", "create", "one"]);
    await runToEnd(path, dir, ["allow", "one", "--host", "*.example.com"]);
    const caCerts = [await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`)];
    const tunnels: Deno.TlsConn[] = [];
    for (let i = 0; i < Number(count); i++) tunnels.push(await openTunnel(proxy.port, token, caCerts));
    await pause(3_000);
    const full = rssKib(proxy.pid);
    say(`${count} idle tunnels  ${mib(full)} MiB, ${((full - idle) / Number(count)).toFixed(1)} KiB each`);
    for (const tunnel of tunnels) tunnel.close();
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function times(run: () => Promise<unknown>): Promise<readonly number[]> {
  const all: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const startedAt = performance.now();
    await run();
    all.push(performance.now() - startedAt);
  }
  return all;
}

async function runToEnd(path: string, cwd: string, args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(path, { args: [...args], cwd }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

interface Running extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
}

/** Starts the proxy and polls until both ports accept. */
async function start(path: string, cwd: string): Promise<Running> {
  const ports = [0, 0].map((port) => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port });
    return listener.addr.port;
  });
  const [http = 0, https = 0] = ports;
  const child = new Deno.Command(path, {
    args: ["up", "--http-port", `${http}`, "--https-port", `${https}`],
    cwd,
    stdout: "null",
    stderr: "null",
  }).spawn();
  for (const port of ports) {
    for (;;) {
      try {
        (await Deno.connect({ hostname: "127.0.0.1", port })).close();
        break;
      } catch {
        await pause(1);
      }
    }
  }
  return {
    pid: child.pid,
    port: http,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGTERM");
      await child.status;
    },
  };
}

async function openTunnel(port: number, token: string, caCerts: string[]): Promise<Deno.TlsConn> {
  const tcp = await Deno.connect({ hostname: "127.0.0.1", port });
  const head =
    `CONNECT a.example.com:443 HTTP/1.1\r\nHost: a.example.com:443\r\nProxy-Authorization: Bearer ${token}`;
  await tcp.write(new TextEncoder().encode(`${head}\r\n\r\n`));
  const answer = new Uint8Array(1_024);
  const length = await tcp.read(answer) ?? 0;
  if (!new TextDecoder().decode(answer.subarray(0, length)).startsWith("HTTP/1.1 200")) {
    throw new Error(`no tunnel: ${new TextDecoder().decode(answer.subarray(0, length))}`);
  }
  const tls = await Deno.startTls(tcp, { hostname: "a.example.com", caCerts });
  await tls.handshake();
  return tls;
}

function rssKib(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1]);
}

function median(values: readonly number[]): string {
  return ms([...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0);
}

function ms(value: number): string {
  return value.toFixed(0);
}

function mib(kib: number): string {
  return (kib / 1_024).toFixed(1);
}

function pause(forMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, forMs));
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

await main(Deno.args);
