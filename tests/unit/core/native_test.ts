import { assertEquals } from "@std/assert";
import {
  descriptorLimit,
  findListeners,
  hasNativeCalls,
  openDescriptors,
  probeConnections,
  setListenerNoDelay,
  shutdownFrom,
  shutdownSocket,
} from "../../../core/native.ts";
import { closeQuietly } from "../../../proxy/streams/byte_reader.ts";
import { hasProgram, runProgram } from "../../support/programs.ts";
import {
  openSockets,
  settledSockets,
  soon,
  startSilentPeer,
  tcpPair,
  waitUntil,
} from "../../support/sockets.ts";
import { upstreamAuthority } from "../../support/test_authority.ts";

// The C library stays open for the process; the sanitizer must not count it against the first test.
const ignore = !hasNativeCalls();

Deno.test({ ignore, name: "descriptorLimit() is the soft limit of this process" }, async () => {
  const limits = await Deno.readTextFile("/proc/self/limits");
  const [, soft] = /^Max open files +(\d+)/m.exec(limits) ?? [];
  assertEquals(descriptorLimit(), Number(soft));
});

Deno.test(
  { ignore: ignore || Deno.build.os !== "linux", name: "openDescriptors() counts what is open" },
  () => {
    const listed = () => [...Deno.readDirSync("/proc/self/fd")].length - 1; // without the folder itself
    const before = openDescriptors();
    assertEquals(before, listed());
    const files = Array.from({ length: 40 }, () => Deno.openSync("/dev/null"));
    assertEquals(openDescriptors(), listed());
    for (const file of files) file.close();
    assertEquals(openDescriptors(), before);
  },
);

Deno.test(
  { ignore, name: "shutdownSocket() ends the connection with exactly these two addresses" },
  async (t) => {
    for (const hostname of ["127.0.0.1", "::1"]) {
      await t.step(hostname, async () => {
        using pair = await tcpPair(hostname);
        using other = await tcpPair(hostname);
        const { localAddr, remoteAddr } = pair.near;
        const elsewhere = hostname === "::1" ? "::2" : "127.0.0.2";
        assertEquals(shutdownSocket({ ...localAddr, hostname: elsewhere }, remoteAddr), false);
        assertEquals(shutdownSocket(localAddr, { ...remoteAddr, hostname: elsewhere }), false);
        assertEquals(shutdownSocket(localAddr, { ...remoteAddr, port: other.near.remoteAddr.port }), false);
        assertEquals(shutdownSocket(localAddr, remoteAddr), true);
        assertEquals(await pair.far.read(new Uint8Array(1)), null);
        await other.near.write(new Uint8Array([1]));
        assertEquals(await other.far.read(new Uint8Array(1)), 1);
      });
    }
  },
);

Deno.test(
  { ignore, name: "shutdownSocket() lets closing free the descriptor of a stuck TLS handshake" },
  async () => {
    await using silent = startSilentPeer();
    const before = await settledSockets();
    const tcp = await Deno.connect({ hostname: "127.0.0.1", port: silent.port });
    await waitUntil("it is accepted", () => silent.accepted.length === 1);
    const { localAddr, remoteAddr } = tcp;
    const tls = await Deno.startTls(tcp, { hostname: "up.test" });
    const handshake = tls.handshake().then(() => "done", () => "failed");
    assertEquals(openSockets(), before + 2);
    assertEquals(shutdownSocket(localAddr, remoteAddr), true);
    closeQuietly(tls);
    assertEquals(await soon("the handshake", handshake), "failed");
    await waitUntil("it is freed", () => openSockets() === before + 1); // the peer's end stays
  },
);

Deno.test({ ignore, name: "setListenerNoDelay() finds the listener of an address" }, async () => {
  const { certPem, keyPem } = await (await upstreamAuthority()).issue(["up.test"]);
  using listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert: certPem, key: keyPem });
  const addr = listener.addr as Deno.NetAddr;
  assertEquals(setListenerNoDelay(addr), true);
  assertEquals(setListenerNoDelay({ ...addr, hostname: "127.0.0.2" }), false);
  using plain = await Deno.connect({ hostname: "127.0.0.1", port: addr.port });
  assertEquals(setListenerNoDelay(plain.localAddr as Deno.NetAddr), false, "it is no listener");
});

Deno.test({ ignore, name: "ignoreDebuggerSignal() keeps SIGUSR1 from opening the inspector" }, async () => {
  const native = new URL("../../../core/native.ts", import.meta.url);
  const script = `
    import { ignoreDebuggerSignal } from ${JSON.stringify(native.href)};
    if (!ignoreDebuggerSignal()) Deno.exit(3);
    for (const delayMs of [0, 300, 600, 600]) { // the runtime installs its handler after some 500 ms
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      Deno.kill(Deno.pid, "SIGUSR1");
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    await Deno.stdout.write(new TextEncoder().encode("alive"));`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--ext=ts", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(script));
  await writer.close();
  const { stdout, stderr, code } = await child.output();
  assertEquals([code, new TextDecoder().decode(stdout)], [0, "alive"]);
  assertEquals(/Debugger listening|Inspector/i.test(new TextDecoder().decode(stderr)), false);
});

Deno.test({
  ignore: ignore || Deno.build.os !== "linux",
  name: "findListeners() shuts those of that moment and of that address, and no other",
}, async () => {
  const listen = (port: number) => Deno.listen({ hostname: "127.0.0.1", port, reusePort: true });
  const first = listen(0);
  const { port } = first.addr;
  const [second, other] = [listen(port), listen(0)];
  const closed = listen(port);
  const shut = findListeners({ hostname: "127.0.0.1", port });
  closed.close();
  const later = listen(port); // with the descriptor number of the one that is closed
  const accepted = [first, second].map((listener) => listener.accept().then(() => "accepted", () => "shut"));
  shut();
  assertEquals(await Promise.all(accepted), ["shut", "shut"]);
  for (const listener of [later, other]) {
    const [near, far] = await Promise.all([
      Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }),
      listener.accept(),
    ]);
    near.close();
    far.close();
  }
  for (const listener of [first, second, other, later]) listener.close();
});

/** What Linux says of the timers of a connection of ours. */
async function timerOf({ port }: Deno.NetAddr, peer: Deno.NetAddr): Promise<string> {
  const { stdout } = await runProgram("ss", ["-tnoH", `sport = :${port} and dport = :${peer.port}`]);
  return /timer:\((\w+)/.exec(stdout)?.[1] ?? "none";
}

Deno.test({
  ignore: ignore || Deno.build.os !== "linux" || !hasProgram("ss"),
  name: "probeConnections() has the system ask the peers of what is open, and of nothing that comes later",
}, async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = async () => {
    const [near, far] = await Promise.all([
      Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }),
      listener.accept(),
    ]);
    return { near, far };
  };
  const before = await open();
  const timer = (conn: Deno.TcpConn) =>
    timerOf(conn.localAddr as Deno.NetAddr, conn.remoteAddr as Deno.NetAddr);
  assertEquals([await timer(before.near), await timer(before.far)], ["none", "none"]);
  probeConnections();
  assertEquals([await timer(before.near), await timer(before.far)], ["keepalive", "keepalive"]);
  const later = await open();
  assertEquals(await timer(later.far), "none", "the listener had it, and gave it on");
  for (const conn of [before.near, before.far, later.near, later.far]) conn.close();
});

Deno.test({
  ignore: ignore || Deno.build.os !== "linux",
  name: "shutdownFrom() ends what is connected from an address, and nothing else",
}, async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using other = Deno.listen({ hostname: "127.0.0.11", port: 0 });
  const open = async ({ addr, accept }: { addr: Deno.NetAddr; accept: () => Promise<Deno.TcpConn> }) =>
    await Promise.all([Deno.connect({ hostname: addr.hostname, port: addr.port }), accept()]);
  const [near, far] = await open({ addr: listener.addr, accept: () => listener.accept() });
  const [a, b] = await open({ addr: other.addr, accept: () => other.accept() });
  shutdownFrom(["127.0.0.11", "192.0.2.1"]);
  assertEquals(await b.read(new Uint8Array(1)), null);
  await far.write(Uint8Array.of(7));
  assertEquals(await near.read(new Uint8Array(1)), 1);
  for (const conn of [near, far, a, b]) conn.close();
});
