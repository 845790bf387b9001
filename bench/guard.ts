/**
 * A guard against getting slower that does not depend on the machine's mood: how many system calls that move bytes an
 * inspected keep-alive request costs. With the engine that this proxy has, sends and receives are more than half of a
 * request's CPU time, and their number is exact: a response that leaves in two writes instead of one shows at once.
 *
 * Writes are left out: among them are the wake-ups of threads, whose number is a matter of timing.
 *
 * The proxy runs under `strace -c` twice, with few and with many requests; the difference is what the requests cost.
 *
 * @module
 */
import { makeAuthority, type TestAuthority } from "../tests/support/test_authority.ts";
import { openTlsTunnel, RawPeer } from "../tests/support/raw_peer.ts";
import { addClient, denoCommand, openApi } from "./peer_slicer.ts";
import { HOST, TOKEN } from "./settings.ts";

/** Calls per request that succeeded. */
export interface SyscallCost {
  /** Four with the loopback hop: the request to the hop and to the upstream, the response to the hop and to the client. */
  readonly sends: number;
  /** As many, on the same ways. */
  readonly receives: number;
}

const FAMILIES: Readonly<Record<keyof SyscallCost, readonly string[]>> = {
  sends: ["sendto", "sendmsg"],
  receives: ["recvfrom", "recvmsg"],
};

/** True when `strace` is installed and may trace. */
export async function canTrace(): Promise<boolean> {
  try {
    return (await new Deno.Command("strace", { args: ["-c", "-o", "/dev/null", "true"], stderr: "null" })
      .output())
      .success;
  } catch {
    return false;
  }
}

/** What one of `requests` costs. Takes some ten seconds. */
export async function measureSyscalls(requests: number): Promise<SyscallCost> {
  const upstreamCa = await makeAuthority("guard-upstream");
  const BASE = 50;
  const few = await trace(upstreamCa, BASE);
  const many = await trace(upstreamCa, BASE + requests);
  const cost = (family: keyof SyscallCost) =>
    FAMILIES[family].reduce((sum, name) => sum + (many.get(name) ?? 0) - (few.get(name) ?? 0), 0) / requests;
  return { sends: cost("sends"), receives: cost("receives") };
}

/** The successful calls of a proxy that serves `requests` in one tunnel, one after the other, by name. */
async function trace(upstreamCa: TestAuthority, requests: number): Promise<ReadonlyMap<string, number>> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-guard-" });
  const { certPem: cert, keyPem: key } = await upstreamCa.issue([HOST]);
  const upstream = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key, alpnProtocols: ["http/1.1"] });
  const target = `${HOST}:${upstream.addr.port}`;
  const serving = serve(upstream);
  const [port, tlsPort] = freePorts();
  await Deno.writeTextFile(`${dir}/upstream.crt`, upstreamCa.caPem);
  const child = new Deno.Command("strace", {
    args: [
      ...["-f", "-c", "-o", `${dir}/calls`, ...denoCommand(), "up", "--allow-cidr=127.0.0.0/8,::1/128"],
      ...[`--http-port=${port}`, `--https-port=${tlsPort}`, `--upstream-ca=${HOST}=${dir}/upstream.crt`],
    ],
    cwd: dir,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const api = await openApi(`${dir}/.slicer/proxy/api.sock`);
    await addClient(api, "guard", TOKEN, []);
    await api.call("POST", "allows", { client: "guard", host: HOST, ports: [upstream.addr.port] });
    const caPem = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
    using client = await openTlsTunnel(port, target, TOKEN, caPem);
    for (let i = 0; i < requests; i++) {
      await client.send(`GET /1k HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
      const { status } = await client.readResponse();
      if (status !== 200) throw new Error(`the proxy answered ${status}`);
    }
  } finally {
    // strace itself ignores the signal while its child runs.
    const traced = await Deno.readTextFile(`/proc/${child.pid}/task/${child.pid}/children`);
    for (const pid of traced.trim().split(" ").map(Number)) if (pid > 0) Deno.kill(pid, "SIGTERM");
    await child.status;
    upstream.close();
    await serving;
  }
  const calls = parseCalls(await Deno.readTextFile(`${dir}/calls`));
  await Deno.remove(dir, { recursive: true });
  return calls;
}

/** The successful calls by name, in a table of `strace -c`: time, seconds, per call, calls, errors if any, name. */
export function parseCalls(table: string): ReadonlyMap<string, number> {
  const calls = new Map<string, number>();
  for (
    const [, count, errors, name = ""] of table.matchAll(/^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(\d+)? *(\w+)$/gm)
  ) {
    if (name !== "total") calls.set(name, Number(count) - Number(errors ?? 0));
  }
  return calls;
}

const ANSWER = `HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n${"x".repeat(1_024)}`;

/** Every head is answered with one write. */
async function serve(listener: Deno.TlsListener): Promise<void> {
  const open: Promise<void>[] = [];
  try {
    for (;;) open.push(answer(await listener.accept()));
  } catch {
    await Promise.all(open); // closed
  }
}

async function answer(conn: Deno.TlsConn): Promise<void> {
  using peer = new RawPeer(conn);
  try {
    for (;;) {
      await peer.readHead();
      await peer.send(ANSWER);
    }
  } catch {
    // The proxy has closed its side.
  }
}

function freePorts(): [number, number] {
  const listeners = [0, 0].map((port) => Deno.listen({ hostname: "127.0.0.1", port }));
  const [first = 0, second = 0] = listeners.map(({ addr }) => (addr as Deno.NetAddr).port);
  for (const listener of listeners) listener.close();
  return [first, second];
}
