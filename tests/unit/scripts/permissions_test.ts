import { assert, assertEquals } from "@std/assert";
import config from "../../../deno.json" with { type: "json" };
import { permissionFlags } from "../../../scripts/permissions.ts";
import { V8_FLAGS } from "../../../scripts/v8_flags.ts";

Deno.test("permissionFlags() is what deno task start gives", () => {
  assertEquals(config.tasks.start, `deno run ${V8_FLAGS} ${permissionFlags().join(" ")} main.ts`);
});

Deno.test("permissionFlags() names what each system needs", async (t) => {
  const rows = [
    ["linux", "x86_64", "--allow-ffi=/lib/x86_64-linux-gnu/libc.so.6,/lib64/libc.so.6", true],
    ["linux", "aarch64", "--allow-ffi=/lib/aarch64-linux-gnu/libc.so.6,/lib64/libc.so.6", true],
    ["darwin", "aarch64", "--allow-ffi=/usr/lib/libSystem.B.dylib", false],
  ] as const;
  for (const [os, arch, ffi, hasIp] of rows) {
    await t.step(`${os} ${arch}`, () => {
      const flags = permissionFlags(os, arch);
      assert(flags.includes(ffi), flags.join(" "));
      assertEquals(flags.some((flag) => flag.startsWith("--allow-run=")), hasIp);
    });
  }
});

Deno.test("permissionFlags() leaves nothing open that can be named", () => {
  for (const flag of permissionFlags()) {
    assert(
      flag.includes("=") || ["--no-prompt", "--allow-net", "--allow-read", "--allow-write"].includes(flag),
      flag,
    );
  }
});
