import { assert, assertEquals } from "@std/assert";
import { formatEnvironment } from "../../../../cli/env/formats.ts";
import { fileFor } from "../../../../cli/env/tool_files.ts";
import { variablesFor } from "../../../../cli/env/tools.ts";
import { hasPlaceholder } from "../../../../policy/placeholder.ts";

const TYPES = ["oauth-claude", "oauth-codex", "oauth-github-copilot"];

Deno.test("fileFor() gives files that tools can read, whose every token is a placeholder", async (t) => {
  for (const type of TYPES) {
    await t.step(type, () => {
      const file = fileFor(type);
      assert(file);
      const tokens = Object.entries(JSON.parse(file.content)).flatMap(([, part]) =>
        Object.entries(part ?? {})
      )
        .filter(([name]) => /token|refresh|access/i.test(name));
      assert(tokens.length >= 2);
      for (const [name, value] of tokens) assert(hasPlaceholder(`Bearer ${value}`), name);
    });
  }
  for (const type of ["bearer", "constructor", "__proto__"]) assertEquals(fileFor(type), undefined);
});

Deno.test("Codex' token has claims that can be read", () => {
  const { tokens } = JSON.parse(fileFor("oauth-codex")?.content ?? "");
  const [, claims = ""] = tokens.id_token.split(".");
  assert(JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/"))).exp > Date.now() / 1_000);
});

Deno.test("a shell makes the files of tools once, for their owner alone", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const files = TYPES.map((type) => fileFor(type)).filter((file) => file !== undefined);
    await Deno.mkdir(`${dir}/.codex`);
    await Deno.writeTextFile(`${dir}/.codex/auth.json`, "mine");
    await Deno.writeTextFile(
      `${dir}/e.sh`,
      formatEnvironment({ variables: new Map(), files }, "sh", "ubuntu"),
    );
    const ran = await new Deno.Command("sh", { args: ["-euc", ". ./e.sh"], cwd: dir, env: { HOME: dir } })
      .output();
    assertEquals(new TextDecoder().decode(ran.stderr), "");
    assertEquals(await Deno.readTextFile(`${dir}/.codex/auth.json`), "mine");
    const made = `${dir}/.claude/.credentials.json`;
    assertEquals(
      JSON.parse(await Deno.readTextFile(made)),
      JSON.parse(fileFor("oauth-claude")?.content ?? ""),
    );
    assertEquals(((await Deno.stat(made)).mode ?? 0) & 0o777, 0o600);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("variablesFor() gives AWS an access key id of its own form", () => {
  const found = variablesFor({ type: "aws", host: "*.amazonaws.com", env: [] }, () => false);
  assertEquals(found.get("AWS_ACCESS_KEY_ID"), "AKIASLICERPROXYDUMMY");
});
