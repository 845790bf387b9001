/** A full house: the reckoning of `fitLimits()` against the real program with few descriptors. */
import { assert, assertEquals } from "@std/assert";
import { SlicerProxy } from "../../sdk/slicer_proxy.ts";
import { startRawUpstream } from "../support/echo_upstream.ts";
import { startTlsWrap } from "../support/forwarder.ts";
import { Program } from "../support/program.ts";
import { hasProgram } from "../support/programs.ts";
import { openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

/** Tunnels that are opened at most, and at once. */
const MOST = 600;
const AT_ONCE = 10;
/** So many that each holds few connections: one with many would be refused before the house is full. */
const CLIENTS = 100;

for (const [descriptors, letIn] of [[1_200, 130], [4_096, 500], [20_000, MOST]] as const) {
  Deno.test({
    name: `with ${descriptors} descriptors a full house refuses new clients, and the API and the log go on`,
    ignore: !hasProgram("prlimit"),
    fn: () => fill(descriptors, letIn),
  });
}

/** Tunnels that take six descriptors each: TLS to the proxy, TLS inside, and an upstream that has not answered. */
async function fill(descriptors: number, letIn: number): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir({ prefix: "slicer-descriptors-" });
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const held = Promise.withResolvers<void>();
  const upstream = stack.use(await startRawUpstream(() => held.promise, { names: ["localhost"] }));
  stack.defer(() => held.resolve()); // before the upstream waits for what it holds
  await Deno.writeTextFile(`${dir}/upstream.pem`, (await upstreamAuthority()).caPem);
  const program = new Program(dir, {}, ["prlimit", `--nofile=${descriptors}`]);
  const daemon = stack.use(
    await program.up(["--allow-cidr", "127.0.0.0/8,::1/128", "--upstream-ca", "upstream.pem"]),
  );
  const tokens = await createClients(`${dir}/.slicer/proxy/api.sock`, upstream.port);
  const caPem = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
  const wrapped = stack.use(startTlsWrap(daemon.httpsPort, caPem));
  const target = `localhost:${upstream.port}`;
  const tunnels: RawPeer[] = [];
  stack.defer(() => tunnels.forEach((tunnel) => tunnel[Symbol.dispose]()));
  const open = async (nth: number) => {
    const tunnel = await openTlsTunnel(wrapped.port, target, tokens[nth % CLIENTS] ?? "", caPem);
    tunnels.push(tunnel);
    await tunnel.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  };
  let tried = 0;
  // Side by side they make room for one another where few places are left: the last ones are taken one by one.
  for (let atOnce = AT_ONCE; atOnce > 0 && tried < MOST;) {
    const opened = await Promise.allSettled(Array.from({ length: atOnce }, () => open(tried++)));
    if (opened.some(({ status }) => status === "rejected")) atOnce = atOnce === 1 ? 0 : 1;
  }
  assert(tunnels.length >= letIn, `${tunnels.length} tunnels; ${daemon.stdout.text.slice(-1_000)}`);
  const status = JSON.parse(await program.ok(["status", "--json"]));
  assertEquals(status.process.max_fds, descriptors);
  assert(status.process.open_fds < descriptors - 50, `${status.process.open_fds} are open`);
  if (letIn < MOST) await daemon.waitLine(/^deny client=- reason=overload/m);
  await program.ok(["revoke", "vm-0", "--host", "localhost"]);
  held.resolve();
  await daemon.waitLine(/client=vm-0 .*host=localhost/);
}

/** Clients with a rule for the upstream. Gives their tokens. */
async function createClients(url: string, port: number): Promise<readonly string[]> {
  const api = new SlicerProxy({ url });
  const tokens: string[] = [];
  for (let i = 0; i < CLIENTS; i++) {
    const { name, token } = await api.clients.create(`vm-${i}`);
    await api.allows.add({ client: name, host: "localhost", ports: [port] });
    tokens.push(token);
  }
  return tokens;
}
