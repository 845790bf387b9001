import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  applyRedirects,
  findFirewall,
  iptablesScript,
  nftScript,
  removeRedirects,
  type Run,
} from "../../../agent/firewall.ts";
import { ProxyError } from "../../../core/errors.ts";

const REDIRECTS = { proxyAddress: "192.168.222.1", httpPort: 18_080, httpsPort: 18_443 };

Deno.test("nftScript() exempts the proxy and this machine before anything is redirected", () => {
  const lines = nftScript(REDIRECTS).split("\n").map((line) => line.trim());
  assert(lines.indexOf("ip daddr 192.168.222.1 return") < lines.indexOf("tcp dport 80 redirect to :18080"));
  assert(lines.indexOf("fib daddr type local return") < lines.indexOf("tcp dport 443 redirect to :18443"));
  assertStringIncludes(nftScript({ ...REDIRECTS, proxyAddress: "fd00::1" }), "ip6 daddr fd00::1 return");
});

Deno.test("iptablesScript() exempts the proxy in its own family, and refuses what cannot be redirected", () => {
  assertStringIncludes(iptablesScript(REDIRECTS, 4), "-d 192.168.222.1 -j RETURN");
  assert(!iptablesScript(REDIRECTS, 6).includes("192.168"));
  const refused = iptablesScript(REDIRECTS, 6, false);
  assert(!refused.includes("*nat") && !refused.includes("REDIRECT"));
  for (const port of [80, 443]) {
    assertStringIncludes(refused, `--dport ${port} -j REJECT --reject-with tcp-reset`);
  }
});

Deno.test("findFirewall() takes what works", async (t) => {
  const rows = [
    { name: "nft", works: ["nft", "iptables"], found: "nft" },
    { name: "iptables when nft fails", works: ["iptables"], found: "iptables" },
  ];
  for (const { name, works, found } of rows) {
    await t.step(name, async () => assertEquals(await findFirewall(fake(works).run), found));
  }
  await t.step("neither", async () => {
    const error = await assertRejects(() => findFirewall(fake([]).run), ProxyError);
    assertEquals(error.code, "agent.failed");
  });
});

Deno.test("applyRedirects() fails when the rules cannot be made, and says when a route cannot", async () => {
  await assertRejects(() => applyRedirects("nft", REDIRECTS, fake(["ip"]).run), ProxyError);
  assertEquals(await applyRedirects("nft", REDIRECTS, fake(["nft", "ip"]).run), []);
  const notes = await applyRedirects("nft", REDIRECTS, fake(["nft"]).run);
  assertStringIncludes(notes.join(), "default route");
});

Deno.test("removeRedirects() touches only what is ours", async () => {
  for (const kind of ["nft", "iptables"] as const) {
    const { run, calls } = fake(["nft", "ip", "iptables", "ip6tables"]);
    await removeRedirects(kind, run);
    for (const call of calls) assert(/slicer_agent|SLICER_AGENT|table 1803/.test(call), call);
  }
});

/** Programs that work or fail by name, and what they were called with. */
function fake(works: readonly string[]): { run: Run; calls: string[] } {
  const calls: string[] = [];
  return {
    calls,
    run: (name, args, options) => {
      calls.push([name, ...args, options?.stdin ?? ""].join(" "));
      const isOk = works.includes(name);
      return Promise.resolve({ isOk, stdout: "", stderr: isOk ? "" : `${name}: no` });
    },
  };
}
