/** `seal-key` of a fleet's running hosts, with the real permissions: each gets the new key as a file, and requests go on. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { FleetHost } from "../support/fleet_host.ts";
import { postgresMissing, PostgresServer } from "../support/postgres.ts";
import { until } from "../unit/store/fleet_support.ts";

Deno.test("seal-key rotate takes another key on all hosts of a fleet, when each has it", async (t) => {
  const missing = await postgresMissing();
  if (missing !== undefined) {
    return void await t.step({ name: `skipped: ${missing}`, ignore: true, fn: () => {} });
  }
  await using server = await PostgresServer.start();
  const dir = await Deno.makeTempDir({ prefix: "slicer-fleet-seal-" });
  try {
    const [mk1, mk2] = [`${dir}/keys-1/mk`, `${dir}/keys-2/mk`];
    for (const n of [1, 2]) await Deno.mkdir(`${dir}/keys-${n}`);
    const common = { server, grace: "20s" };
    const one = new FleetHost(`${dir}/host-1`, { ...common, sealKeyFile: mk1 });
    const two = new FleetHost(`${dir}/host-2`, { ...common, sealKeyFile: mk2 });
    const access = ["--store-password-file", server.passwordFile, "--store-ca", server.caFile];
    const storeStatus = () => one.program.ok(["store", "status", "--store", server.url, ...access]);
    let [id, formerId] = ["", ""];
    {
      await using up1 = await one.up();
      await Deno.copyFile(mk1, mk2);
      await using up2 = await two.up();
      await one.program.ok(["secret", "create", "key", "--host", "a.test", "--value-file=-"], {
        stdin: "planted",
      });
      await one.program.ok(["ca", "import"]);
      const former = /^sealed with key ([0-9a-f]{16}), which is in (\S+)$/.exec(
        await two.program.ok(["seal-key", "status"]),
      );
      assertEquals(former?.[2], mk2);
      formerId = former?.[1] ?? "";
      const none = await one.program.run(["seal-key", "cancel"]);
      assertMatch(none.stderr, /^error: cannot give up another seal key: none is to come into force$/m);

      const begun = await one.program.run(["seal-key", "rotate"]);
      assertEquals(begun.code, 0, begun.stderr);
      id = /^key ([0-9a-f]{16}) is to follow ([0-9a-f]{16})$/.exec(begun.stdout.trim())?.[1] ?? begun.stdout;
      assertStringIncludes(begun.stderr, `on this one it is ${mk1}.next`);
      const line = `key ${id} is to follow, when these hosts have it: host-2`;
      await until("one has it", async () => (await two.program.ok(["seal-key", "status"])).includes(line));
      assertStringIncludes(await storeStatus(), `seal     ${line}`);
      await until(
        "the other says what it needs",
        () => up2.stderr.text.includes(`${mk2}.next, with mode 600`),
      );
      await two.program.ok(["seal-key", "cancel"]);
      assertEquals((await two.program.ok(["seal-key", "status"])).split("\n").length, 1);

      await one.program.ok(["seal-key", "rotate", "--key-file", `${mk1}.next`]);
      await Deno.copyFile(`${mk1}.next`, `${mk2}.next`);
      await until("it is in force", async () => {
        const { id: now, rotation } = JSON.parse(await two.program.ok(["seal-key", "status", "--json"]));
        return now === id && rotation === undefined;
      });
      await until(
        "it is in its place",
        async () =>
          await Deno.readTextFile(mk1) === await Deno.readTextFile(mk2) &&
          [...Deno.readDirSync(`${dir}/keys-2`)].map(({ name }) => name).join() === "mk",
      );
      await until(
        "one key from before is kept",
        () =>
          [...Deno.readDirSync(`${dir}/keys-1`)].map(({ name }) => name).sort().join() ===
            `mk,mk.${formerId}`,
      );
      assertStringIncludes(await storeStatus(), `sealed with key ${id}\n`);
      await two.program.ok(["secret", "create", "late", "--host", "a.test", "--value-file=-"], {
        stdin: "x",
      });
      for (const { stderr } of [up1, up2]) {
        assertEquals(stderr.text.includes((await Deno.readTextFile(mk1)).trim()), false);
      }
    }
    await Deno.copyFile(`${mk1}.${formerId}`, mk2);
    await Deno.chmod(mk2, 0o600);
    const old = await two.program.run([
      "up",
      "--http-port=1",
      "--https-port=2",
      "--seal-key-file",
      mk2,
      "--store",
      server.url,
      ...access,
    ]);
    assertMatch(
      old.stderr,
      new RegExp(`is not the one that it is sealed with \\(its key is ${id}, and this one `),
    );
    assertStringIncludes(
      old.stderr,
      `hint: copy the fleet's key from another host to ${mk2}.next, with mode 600`,
    );
    await Deno.copyFile(mk1, `${mk2}.next`);
    await using _up = await two.up();
    assertMatch(await two.program.ok(["secret", "list"]), /key[^]*late/);
    assertMatch(await two.program.ok(["ca", "show"]), /^from +store$/m);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
