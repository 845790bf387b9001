/** A host whose only way out is a parent proxy, and from where and to what family it dials: the real program in network namespaces. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  CorporateNetwork,
  HOST_IP,
  OTHER_IP,
  PARENT,
  UPSTREAM,
  UPSTREAM_V4,
  UPSTREAM_V6,
  whyNoNetwork,
} from "../support/corporate_network.ts";
import type { Daemon } from "../support/program.ts";
import { waitUntil } from "../support/sockets.ts";

const why = await whyNoNetwork();
if (why) await Deno.stderr.write(new TextEncoder().encode(`skipping the corporate network: ${why}\n`));
const ignore = why !== undefined;

const TRUST = ["--upstream-ca", "world-ca/ca.crt", "--ca-dir", "ca", "--hostgroup", "vm"];

async function clientOf({ program }: CorporateNetwork): Promise<string> {
  const token = await program.ok(["client", "create", "one"]);
  await program.ok(["allow", "one", "--host", UPSTREAM, "--one-request-per-connection"]);
  return token;
}

async function statusOf({ program }: CorporateNetwork, pattern: RegExp): Promise<void> {
  await waitUntil("the status says so", async () => pattern.test(await program.ok(["status"])));
}

Deno.test({
  ignore,
  name: "a host whose only way out is a parent: all goes through it, and nothing when it is away",
}, async (t) => {
  await using network = await CorporateNetwork.start();
  const { program } = network;
  await network.onHost(
    `sh -c 'iptables -A OUTPUT -o lo -j ACCEPT && iptables -A OUTPUT -p tcp -d ${PARENT.host} --dport ${PARENT.port} -j ACCEPT && ` +
      "iptables -A OUTPUT -j DROP && ip6tables -A OUTPUT ! -o lo -p tcp -j DROP'",
  );
  const parent = ["--upstream-proxy", `http://${PARENT.user}@${PARENT.host}:${PARENT.port}`];
  for (const workers of ["1", "2"]) {
    await t.step(`${workers} workers`, async () => {
      await using daemon: Daemon = await program.up([
        ...TRUST,
        ...parent,
        ...["--upstream-proxy-password-file", "password", "--workers", workers],
      ]);
      const token = await clientOf(network);
      // The parent dials from its own place: the upstream's address is the parent's too.
      assertMatch(await network.ask(daemon.httpPort, token), /^(10\.79\.0\.1|fd79::1)$/);
      assertMatch(
        await network.ask(daemon.httpPort, token, `http://${UPSTREAM}/`),
        /^(10\.79\.0\.1|fd79::1)$/,
      );
      assertStringIncludes(await program.ok(["status"]), `http://${PARENT.host}:${PARENT.port}`);
      const seen = daemon.stdout.text + daemon.stderr.text + await program.ok(["status", "--json"]);
      assertEquals(
        seen.includes(PARENT.password) || seen.includes(btoa(`${PARENT.user}:${PARENT.password}`)),
        false,
      );
      await program.ok(["client", "delete", "one"]);
    });
  }
  await t.step("without the parent nothing goes, though the way is open by now", async () => {
    await network.stopParent();
    await network.onHost("iptables -F OUTPUT");
    await network.onHost("ip6tables -F OUTPUT");
    await using daemon = await program.up([
      ...TRUST,
      ...parent,
      "--upstream-proxy-password-file",
      "password",
    ]);
    const token = await clientOf(network);
    assertEquals(await network.ask(daemon.httpPort, token), "parent-unreachable");
    assertEquals(await network.ask(daemon.httpPort, token, `http://${UPSTREAM}/`), "parent-unreachable");
  });
  await t.step("but for what may go without it", async () => {
    await using daemon = await program.up([
      ...[...TRUST, ...parent, "--upstream-proxy-password-file", "password"],
      ...["--no-upstream-proxy", "10.79.0.0/16,fd79::/16"],
    ]);
    const token = await program.ok(["client", "create", "two"]);
    await program.ok(["allow", "two", "--host", UPSTREAM]);
    assertEquals(await network.ask(daemon.httpPort, token), "fd78::1");
  });
});

Deno.test({ ignore, name: "up dials from the address and the family that it is told" }, async (t) => {
  await using network = await CorporateNetwork.start();
  const { program } = network;
  const rows: readonly (readonly [string, readonly string[], string, url?: string])[] = [
    ["as the system does", [], "fd78::1"],
    ["IPv4 alone", ["--upstream-family", "4"], HOST_IP],
    ["from one address, which is of IPv4", ["--upstream-source", OTHER_IP], OTHER_IP],
    ["the same without TLS", ["--upstream-source", OTHER_IP], OTHER_IP, `http://${UPSTREAM}/`],
    ["through workers", ["--upstream-source", OTHER_IP, "--workers", "2"], OTHER_IP],
    [
      "a family that it has no address of",
      ["--upstream-family", "6"],
      "connect-unreachable",
      `http://${UPSTREAM_V4}/`,
    ],
  ];
  for (const [name, args, expected, url] of rows) {
    await t.step(name, async () => {
      await using daemon = await program.up([...TRUST, ...args]);
      const token = await clientOf(network);
      await program.ok(["allow", "one", "--host", UPSTREAM_V4]);
      assertEquals(await network.ask(daemon.httpPort, token, url), expected);
      await program.ok(["client", "delete", "one"]);
    });
  }
  await t.step("an address that the host does not have", async () => {
    const { code, stderr } = await program.run(["up", ...TRUST, "--upstream-source", "10.78.0.99"]);
    assertEquals(code, 2);
    assertStringIncludes(stderr, "10.78.0.99: no network adapter has this address");
  });
  await t.step("an IPv6 that swallows packets is left for IPv4, and shown", async () => {
    await network.onHost(`ip6tables -A OUTPUT -d ${UPSTREAM_V6} -j DROP`);
    for (const workers of ["1", "2"]) {
      await using daemon = await program.up([...TRUST, "--workers", workers]);
      const token = await clientOf(network);
      assertEquals(await network.ask(daemon.httpPort, token), HOST_IP);
      await statusOf(network, new RegExp(`dead addresses +${UPSTREAM_V6} of ${UPSTREAM}:443`));
      await program.ok(["client", "delete", "one"]);
    }
  });
});
