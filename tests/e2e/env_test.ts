/** `slicer-proxy env`: what a VM needs, as a shell, a parser and cloud-init read it; and the placeholders that it holds. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { hasPlaceholder } from "../../policy/placeholder.ts";
import { Program } from "../support/program.ts";

const SECRETS = [
  ["claude-key", "api.anthropic.com", "header", "x-api-key: real-secret-1"],
  ["gh", "api.github.com", "bearer", "real-secret-2"],
  ["openai", "api.openai.com", "bearer", "real-secret-3"],
  ["own", "llm.corp.example", "bearer", "real-secret-4"],
] as const;

Deno.test("env prints what a VM needs, in every format, and keeps no token", async (t) => {
  const dir = await Deno.makeTempDir();
  try {
    const program = new Program(dir);
    await using daemon = await program.up();
    const token = await program.ok(["client", "create", "ci-1"]);
    await Deno.writeTextFile(`${dir}/token`, token);
    for (const [name, host, type, value] of SECRETS) {
      const env = name === "own" ? ["--env", "CORP_TOKEN,CORP_KEY,HTTPS_PROXY"] : [];
      await program.ok([
        "secret",
        "create",
        name,
        "--host",
        host,
        "--type",
        type,
        "--value-file",
        "-",
        ...env,
      ], {
        stdin: value,
      });
      await program.ok(["allow", "ci-1", "--host", host, "--secret", name]);
    }
    const json = JSON.parse(await program.ok(["env", "ci-1", "--token-file", "token", "--format", "json"]));

    await t.step("proxy, CA and placeholders", () => {
      const { variables } = json;
      assertEquals(variables.HTTP_PROXY, `http://proxy:${token}@127.0.0.1:${daemon.httpPort}`);
      assertEquals(variables.https_proxy, `https://proxy:${token}@127.0.0.1:${daemon.httpsPort}`);
      assertEquals(variables.HTTPS_PROXY, variables.https_proxy, "a secret's own name took its place");
      assertEquals(variables.NO_PROXY, "localhost,127.0.0.1,::1,127.0.0.1");
      assertEquals(variables.NODE_EXTRA_CA_CERTS, "/runner/ca.crt");
      const wanted: Record<string, string> = {
        ANTHROPIC_API_KEY: "sk-ant-api03-",
        GH_TOKEN: "ghp_",
        GITHUB_TOKEN: "ghp_",
        OPENAI_API_KEY: "sk-proj-",
        CORP_TOKEN: "",
        CORP_KEY: "",
      };
      for (const [name, prefix] of Object.entries(wanted)) {
        assert(
          variables[name].startsWith(prefix) && hasPlaceholder(variables[name]),
          `${name}=${variables[name]}`,
        );
      }
      assert(!("ANTHROPIC_AUTH_TOKEN" in variables), "a key and a bearer at once");
      assert(!JSON.stringify(json).includes("real-secret"));
    });

    await t.step("a shell that sources it has the same", async () => {
      await Deno.writeTextFile(`${dir}/env.sh`, await program.ok(["env", "ci-1", "--token-file", "token"]));
      const { stdout } = await new Deno.Command("sh", {
        args: ["-c", ". ./env.sh; env -0"],
        cwd: dir,
        clearEnv: true,
        env: { HOME: dir, PATH: "/usr/bin:/bin" },
      }).output();
      const found = new Map(
        new TextDecoder().decode(stdout).split("\0").map((line) =>
          line.split(/=(.*)/s).slice(0, 2) as [string, string]
        ),
      );
      for (const [name, value] of Object.entries(json.variables)) assertEquals(found.get(name), value, name);
    });

    await t.step("dotenv", async () => {
      const text = await program.ok(["env", "ci-1", "--token-file", "token", "--format", "dotenv"]);
      const found = Object.fromEntries(
        text.split("\n").map((line) => {
          const [, name = "", value = ""] = /^(\w+)='?(.*?)'?$/.exec(line) ?? [];
          return [name, value];
        }),
      );
      assertEquals(found, json.variables);
    });

    await t.step("cloud-init is YAML with the same lines", async () => {
      const text = await program.ok(["env", "ci-1", "--token-file", "token", "--format", "cloud-init"]);
      assert(text.startsWith("#cloud-config\nwrite_files:\n"));
      const { parse } = await import("js-yaml").then(({ load }) => ({ parse: load }));
      const { write_files: [profile] } = parse(text) as { write_files: { path: string; content: string }[] };
      assertEquals(profile?.path, "/etc/profile.d/slicer-proxy-env.sh");
      assertStringIncludes(profile?.content ?? "", `export CORP_TOKEN=${json.variables.CORP_TOKEN}\n`);
    });

    await t.step(
      "a token is never stored: without one its place is marked, and --rotate makes one",
      async () => {
        const without = await program.run(["env", "ci-1", "--format", "json"]);
        assertStringIncludes(without.stderr, "put the client's token where TOKEN stands");
        assertStringIncludes(without.stdout, "proxy:TOKEN@");
        const both = await program.run(["env", "ci-1", "--rotate", "--token-file", "token"]);
        assertEquals(both.code, 2);
        const rotated = JSON.parse(await program.ok(["env", "ci-1", "--rotate", "--format", "json"]));
        assert(!rotated.variables.HTTP_PROXY.includes(token));
      },
    );

    await t.step("REST tells the names, and refuses those that no shell takes", async () => {
      const secrets = JSON.parse(await program.ok(["secret", "list", "--json"]));
      assertEquals(secrets.find(({ name }: { name: string }) => name === "own").env, [
        "CORP_TOKEN",
        "CORP_KEY",
        "HTTPS_PROXY",
      ]);
      const bad = await program.run(
        ["secret", "create", "bad", "--host", "a.example.com", "--value-file", "-", "--env", "A B"],
        { stdin: "x" },
      );
      assertEquals(bad.code, 2);
      assertStringIncludes(bad.stderr, "as a variable's name");
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
