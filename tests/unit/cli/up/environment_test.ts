import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { refuseLeakyEnvironment } from "../../../../cli/up/environment.ts";
import { permissionFlags } from "../../../../scripts/permissions.ts";

Deno.test("refuseLeakyEnvironment() refuses what gives away keys, and nothing else", async (t) => {
  const rows: readonly (readonly [name: string, value: string, isRefused: boolean])[] = [
    ["SSLKEYLOGFILE", "k.log", true],
    ["NODE_OPTIONS", "--inspect", true],
    ["NODE_OPTIONS", "--no-warnings '--inspect-brk=0'", true],
    ["NODE_OPTIONS", "--require ./a.cjs", true],
    ["NODE_OPTIONS", "-r ./a.cjs", true],
    ["NODE_OPTIONS", "--max-old-space-size=8192 --dns-result-order=ipv4first", false],
    ["DENO_V8_FLAGS", "--max-old-space-size=512", false],
    ["DENO_V8_FLAGS", "--max-old-space-size=512,--max-semi-space-size=8", false],
    ["DENO_V8_FLAGS", "--max-old-space-size=512,--prof", true],
    ["NODE_DEBUG", "http", true],
    ["OTEL_DENO", "true", true],
    ["OTEL_DENO", "false", false],
    ["NODE_EXTRA_CA_CERTS", "ca.pem", false],
    ["PATH", "/bin", false],
  ];
  for (const [name, value, isRefused] of rows) {
    await t.step(`${name}=${value}`, () => {
      const check = () => refuseLeakyEnvironment((asked) => asked === name ? value : undefined);
      if (!isRefused) return check();
      const error = assertThrows(check, ProxyError, `Cannot run with ${name} set`);
      assertEquals(error.code, "input.invalid");
    });
  }
});

Deno.test("dropProgramRights() leaves the right to run ip, and no other", async () => {
  const url = (path: string) => JSON.stringify(new URL(`../../../../${path}`, import.meta.url).href);
  const script = `
    import { PROGRAM_PATHS } from ${url("agent/programs.ts")};
    import { dropProgramRights } from ${url("cli/up/environment.ts")};
    const runnable = () => PROGRAM_PATHS.filter((command) =>
      Deno.permissions.querySync({ name: "run", command }).state === "granted");
    const before = runnable().length === PROGRAM_PATHS.length;
    dropProgramRights();
    await Deno.stdout.write(new TextEncoder().encode([before, ...runnable()].join(" ")));`;
  const config = new URL("../../../../deno.json", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", ...permissionFlags(), "--config", config, "--ext=ts", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(script));
  await writer.close();
  const { stdout, stderr } = await child.output();
  const folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/bin", "/usr/local/sbin"];
  assertEquals(
    new TextDecoder().decode(stdout),
    ["true", ...folders.map((folder) => `${folder}/ip`)].join(" "),
    new TextDecoder().decode(stderr),
  );
});
