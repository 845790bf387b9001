/** The README's first five minutes, as typed: its commands on the host, then those in the VM, and the two for the CA. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { makeRepository } from "../support/git_server.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { RecipeLab, whyNoLab } from "../support/recipe_lab.ts";
import { proxyAuthority } from "../support/test_authority.ts";

/** The indented block with a line that starts so. */
async function blockWith(start: string): Promise<string> {
  const text = await Deno.readTextFile(new URL("../../README.md", import.meta.url));
  const block = text.split(/\n(?=\S)/).find((part) => part.includes(`\n    ${start}`)) ?? "";
  const lines = block.split("\n").filter((line) => line.startsWith("    "));
  assert(lines.length > 0, `the README has no ${start}`);
  return lines.map((line) => line.slice(4)).join("\n");
}

const reason = await whyNoLab();
if (reason !== undefined) {
  Deno.stderr.writeSync(new TextEncoder().encode(`skipping the README's commands: ${reason}\n`));
}

Deno.test({
  ignore: reason !== undefined,
  name: "the README's client, secrets and rules let a VM clone and ask, until a rule is revoked",
}, async () => {
  await using lab = await RecipeLab.start(async (dir) => {
    await Deno.mkdir(`${dir}/out/git/acme`, { recursive: true });
    await makeRepository(`${dir}/out/git`, "acme/widgets.git");
  });
  const host = await lab.host(await blockWith("slicer proxy client create client1"));
  assertEquals(host.code, 0, host.stderr);
  const vm = await lab.vm(`${await blockWith(". ./vm.env")}\ncat widgets/README`, "vm");
  assertEquals(vm.code, 0, vm.stderr);
  assertStringIncludes(vm.stdout, "hello from the stand-in");
  assertStringIncludes(vm.stdout, "of acme/widgets.git");
  const revoke = await lab.host(await blockWith("slicer proxy revoke client1"));
  assertEquals(revoke.code, 0, revoke.stderr);
  assertEquals((await lab.vm("git clone -q https://github.com/acme/widgets.git again", "vm")).code, 128);
});

Deno.test({
  ignore: reason !== undefined || !hasProgram("update-ca-certificates"),
  name: "the README's two commands for Debian put the CA into the trust store",
}, async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-readme-" });
  try {
    const { caPem } = await proxyAuthority();
    await Deno.writeTextFile(`${dir}/ca.crt`, caPem);
    const commands = (await blockWith("# Debian")).split("# RHEL")[0]?.replaceAll("/runner/", `${dir}/`) ??
      "";
    // The machine's own store stays as it is: both folders are copies in a mount namespace.
    const places = ["/usr/local/share/ca-certificates", "/etc/ssl/certs"];
    const copies = places.map((place, i) =>
      `cp -a ${place} ${dir}/${i} && mount --bind ${dir}/${i} ${place}`
    );
    const script = [...copies, commands, "cat /etc/ssl/certs/ca-certificates.crt"].join("\n");
    const { code, stdout, stderr } = await runProgram("unshare", ["-rm", "sh", "-ec", script], {
      ms: 120_000,
    });
    assertEquals(code, 0, stderr);
    assertStringIncludes(stdout, caPem.trim());
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
