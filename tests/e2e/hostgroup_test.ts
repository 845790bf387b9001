/** Which CA a proxy signs with when nobody names a host group: the one that Slicer made for its VMs. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { Program } from "../support/program.ts";

Deno.test("up without --hostgroup uses the only CA under ./.slicer/ca, and makes sbox where there is none", async (t) => {
  const dir = await Deno.makeTempDir();
  const program = new Program(dir);
  const hostgroups = () => Array.from(Deno.readDirSync(`${dir}/.slicer/ca`), ({ name }) => name).sort();
  try {
    await t.step("none", async () => {
      await using daemon = await program.up();
      assertStringIncludes(daemon.stderr.text, "created the CA in ./.slicer/ca/sbox");
      // And it says what the default means for VMs.
      await daemon.waitWords(/VMs cannot reach it on 127\.0\.0\.1/);
    });
    await t.step("one, of another name, beside what is no host group", async () => {
      await Deno.remove(`${dir}/.slicer/ca/sbox`, { recursive: true });
      await program.ok(["ca", "init", "--hostgroup", "agents"]);
      await Deno.mkdir(`${dir}/.slicer/ca/empty`);
      await Deno.writeTextFile(`${dir}/.slicer/ca/notes`, "");
      await using _daemon = await program.up();
      assertEquals(hostgroups(), ["agents", "empty", "notes"]);
    });
    await t.step("several", async () => {
      await program.ok(["ca", "init", "--hostgroup", "lab"]);
      const ran = await program.run(["up"]);
      assertEquals(ran.code, 2);
      assertStringIncludes(ran.stderr, "there are agents, lab under ./.slicer/ca");
      await using daemon = await program.up([
        "--hostgroup",
        "lab",
        "--bind",
        "0.0.0.0",
        "--san",
        "192.0.2.7",
      ]);
      const port = daemon.httpPort;
      await daemon.waitWords(
        new RegExp(`VMs reach it by HTTP_PROXY=http://proxy:TOKEN@192\\.0\\.2\\.7:${port} `),
      );
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
