/** The commands about a fleet's store, with the real permissions: moving a policy in and out, and looking at it. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { postgresMissing, PostgresServer } from "../support/postgres.ts";
import { Program } from "../support/program.ts";
import { basic, dialRaw } from "../support/raw_peer.ts";

Deno.test("store migrate takes a policy into a fleet and back, tokens and secrets with it", async (t) => {
  const missing = await postgresMissing();
  if (missing !== undefined) {
    return void await t.step({ name: `skipped: ${missing}`, ignore: true, fn: () => {} });
  }
  await using server = await PostgresServer.start();
  const dir = await Deno.makeTempDir({ prefix: "slicer-migrate-" });
  try {
    const program = new Program(dir);
    const access = ["--store-password-file", server.passwordFile, "--store-ca", server.caFile];
    const store = ["--store", server.url, ...access];
    const state = `${dir}/.slicer/proxy`;
    let token: string;
    {
      await using _up = await program.up();
      token = await program.ok(["client", "create", "one"]);
      await program.ok(["secret", "create", "key", "--host", "a.test", "--value-file=-"], {
        stdin: "planted",
      });
      await program.ok(["allow", "one", "--host", "a.test", "--secret", "key", "--ttl", "1h"]);
      await program.ok(["allow", "one", "--host", "b.test", "--method", "GET"]);
      await program.ok(["ca", "import"]);
      const busy = await program.run(["store", "migrate", "--from", state, "--to", server.url, ...access]);
      assertMatch(busy.stderr, /already running/);
    }
    const there = await program.run(["store", "migrate", "--from", state, "--to", server.url, ...access]);
    assertEquals(there.code, 0, there.stderr);
    assertMatch(
      there.stderr,
      /copied 1 clients, 2 rules and 1 secrets, and the CAs of 1 host groups\nevery host of the fleet needs the seal key/,
    );
    const twice = await program.run(["store", "migrate", "--from", state, "--to", server.url, ...access]);
    assertMatch(twice.stderr, /the target holds a policy already/);
    const none = await program.run(["store", "status", ...store, "--fleet", "other"]);
    assertMatch(none.stderr, /has none of that name/);
    {
      await using up = await program.up([...store, "--host-name=host-1"]);
      assertMatch(up.stderr.text, /state\.kv is not used with --store/);
      assertMatch(await program.ok(["rules", "one"]), /a\.test.*\n.*b\.test/);
      using peer = await dialRaw(up.httpPort);
      await peer.send(
        `CONNECT c.test:443 HTTP/1.1\r\nHost: c.test\r\nProxy-Authorization: ${basic(token)}\r\n\r\n`,
      );
      assertEquals((await peer.readResponse()).status, 403); // and not 407: the token is known
      const text = await program.ok(["store", "status", ...store]);
      assertMatch(text, /policy +1 clients, 2 rules, 1 secrets; change 0\n/);
      assertMatch(text, /host +host-1 \(.*\), last seen \ds ago/);
      const json = JSON.parse(await program.ok(["store", "status", ...store, "--json"]));
      assertEquals(json.cas.map(({ hostgroup }: { hostgroup: string }) => hostgroup), ["sbox"]);
      assertEquals([json.sequence, json.hosts.length, json.hosts[0].is_dead], [0, 1, false]);
      // Neither the database nor what anybody may dump of it gives a token or a secret away.
      const rows = await server.sql("SELECT encode(value, 'escape') FROM slicer_proxy.rows");
      assertStringIncludes(rows, "a.test");
      for (const hidden of ["planted", token, "PRIVATE KEY"]) assertEquals(rows.includes(hidden), false);
    }
    const back = ["store", "migrate", "--from", server.url, "--to", `${dir}/back`, ...access];
    const wrong = await program.run([...back, "--seal-key-file", `${dir}/none`]);
    assertMatch(wrong.stderr, /its seal key .* is missing/);
    await program.ok([...back, "--seal-key-file", `${state}/mk`]);
    await using up = await program.up(["--state-dir", `${dir}/back`, "--seal-key-file", `${state}/mk`]);
    const url = ["--url", `${dir}/back/api.sock`];
    assertMatch(await program.ok(["rules", "one", ...url]), /a\.test.*\n.*b\.test/);
    assertMatch(await program.ok(["secret", "list", ...url]), /key/);
    assertMatch(await program.ok(["ca", "show", ...url]), /^from +store$/m);
    assertEquals(up.stderr.text.includes("error"), false);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("up and store refuse an address that would give a password away, and flags without it", async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-store-" });
  try {
    const program = new Program(dir);
    for (const command of [["up"], ["store", "status"]]) {
      const { code, stderr } = await program.run([...command, "--store", "postgres://u:planted@h.test/d"]);
      assertEquals(code, 2);
      assertMatch(stderr, /it holds a password[^]*--store-password-file/);
      assertEquals(stderr.includes("planted"), false);
    }
    const alone = await program.run(["up", "--store-grace", "1m"]);
    assertEquals([alone.code, /--store-grace without --store/.test(alone.stderr)], [2, true]);
    const short = await program.run(["up", "--store", "postgres://u@h.test/d", "--store-grace", "1s"]);
    assertMatch(short.stderr, /not between 2 seconds and a day/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("docs/FLEET.md: its commands take a host with a policy and a CA into a fleet, and a second one after it", async (t) => {
  const missing = await postgresMissing();
  if (missing !== undefined) {
    return void await t.step({ name: `skipped: ${missing}`, ignore: true, fn: () => {} });
  }
  await using server = await PostgresServer.start(); // with the SQL of the document
  const document = await Deno.readTextFile(new URL("../../docs/FLEET.md", import.meta.url));
  const commands = [...document.matchAll(/```sh\n([^`]*)```/g)].flatMap(([, text = ""]) => text.split("\n"));
  const [migrate, up, importCa] = commands.filter((line) => line.startsWith("slicer-proxy ")).map((line) =>
    line.replace('"$STORE"', server.url).split(" ").slice(1)
  );
  if (!migrate || !up || !importCa) throw new Error("docs/FLEET.md has not the three commands");
  assertMatch(
    commands.join("\n"),
    /^STORE='postgres:\/\/slicer_proxy@db\.internal\/slicer_proxy\?sslmode=verify-full'$/m,
  );
  const dir = await Deno.makeTempDir({ prefix: "slicer-doc-" });
  try {
    const hosts = await Promise.all(["one", "two"].map(async (name) => {
      await Deno.mkdir(`${dir}/${name}/.slicer/proxy`, { recursive: true, mode: 0o700 });
      await Deno.copyFile(server.passwordFile, `${dir}/${name}/password`);
      await Deno.copyFile(server.caFile, `${dir}/${name}/db-ca.crt`);
      return new Program(`${dir}/${name}`);
    }));
    const [one, two] = hosts;
    if (!one || !two) throw new Error("there are no hosts");
    {
      await using _alone = await one.up();
      await one.ok(["client", "create", "ci-0"]);
    }
    await one.ok(migrate);
    const copied = await new Deno.Command("cp", {
      args: ["-p", `${dir}/one/.slicer/proxy/mk`, `${dir}/two/.slicer/proxy/mk`],
    }).output();
    assertEquals(copied.success, true);
    await using _a = await one.up([...up.slice(1), "--host-name=one"]); // both are on one machine here
    await one.ok(importCa);
    await using _b = await two.up([...up.slice(1), "--host-name=two"]);
    const { stderr } = await two.run(["client", "create", "ci-1"]);
    assertMatch(stderr, /^hosts: 2 of 2$/m);
    assertEquals(await one.ok(["client", "list"]), await two.ok(["client", "list"]));
    assertMatch(await two.ok(["ca", "show"]), /^from +store$/m);
    assertEquals(await one.ok(["ca", "show"]), await two.ok(["ca", "show"]));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
