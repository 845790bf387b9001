import { assert, assertEquals, assertStringIncludes } from "@std/assert";

const SCRIPT = new URL("../../../scripts/install.sh", import.meta.url).pathname;
const ignore = Deno.build.os !== "linux"; // the commands of systemd are played

/** A root folder, with `systemctl` and `useradd` that write down what they are told. */
async function inRoot(
  work: (
    root: string,
    install: (...args: string[]) => Promise<{ code: number; stderr: string; asked: readonly string[] }>,
    release: (version: string, status?: number) => Promise<string>,
  ) => Promise<void>,
): Promise<void> {
  const root = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${root}/tools`);
    const script = async (path: string, text: string) => {
      await Deno.writeTextFile(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
      return path;
    };
    for (const name of ["systemctl", "useradd"]) {
      await script(`${root}/tools/${name}`, `[ "$1" = is-failed ] || echo ${name} "$1" >>${root}/asked`);
    }
    await script(`${root}/tools/getent`, "exit 2");
    await work(
      root,
      async (...args) => {
        await Deno.writeTextFile(`${root}/asked`, "");
        const { code, stderr } = await new Deno.Command(SCRIPT, {
          args: ["--root", root, ...args],
          clearEnv: true,
          env: { HOME: "/home/u", PATH: `${root}/tools:/usr/bin:/bin` },
          stdout: "null",
        }).output();
        const asked = (await Deno.readTextFile(`${root}/asked`)).trimEnd().split("\n");
        return { code, stderr: new TextDecoder().decode(stderr), asked };
      },
      (version, status = 0) =>
        script(
          `${root}/release-${version}`,
          `[ "$1" = version ] && echo ${version} && exit 0; exit ${status}`,
        ),
    );
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

const read = (path: string) => Deno.readTextFile(path);

Deno.test(
  { ignore, name: "install.sh installs binary, link and service, and removes them again" },
  () =>
    inRoot(async (root, install, release) => {
      const binary = await release("1");
      const { code, stderr, asked } = await install("--binary", binary, "--service", "--link");
      assertEquals(code, 0, stderr);
      assertEquals(asked, [
        "useradd --system",
        "systemctl daemon-reload",
        "systemctl enable",
        "systemctl start",
      ]);
      assertEquals(await Deno.readLink(`${root}/usr/local/bin/slicer`), "slicer-proxy");
      assertStringIncludes(
        await read(`${root}/etc/systemd/system/slicer-proxy.service`),
        "User=slicer-proxy",
      );
      assertStringIncludes(await read(`${root}/etc/slicer-proxy/up.env`), "SLICER_PROXY_FLAGS=");
      await Deno.mkdir(`${root}/var/lib/slicer-proxy`, { recursive: true });
      assertEquals((await install("--uninstall")).code, 0);
      assertEquals([...Deno.readDirSync(`${root}/usr/local/bin`)], []);
      assert((await Deno.stat(`${root}/var/lib/slicer-proxy`)).isDirectory, "the state has to stay");
    }),
);

Deno.test(
  { ignore, name: "install.sh keeps flags, a foreign link, and the state of before an upgrade" },
  () =>
    inRoot(async (root, install, release) => {
      await install("--binary", await release("1"), "--service");
      await Deno.writeTextFile(`${root}/etc/slicer-proxy/up.env`, "SLICER_PROXY_FLAGS=--mode=audit\n");
      await Deno.writeTextFile(`${root}/usr/local/bin/slicer`, "another program");
      await Deno.mkdir(`${root}/var/lib/slicer-proxy`, { recursive: true });
      await Deno.writeTextFile(`${root}/var/lib/slicer-proxy/state.kv`, "old");
      const { code, asked } = await install("--binary", await release("2"), "--service", "--link");
      assertEquals([code, asked[0]], [0, "systemctl stop"]);
      assertStringIncludes(await read(`${root}/etc/slicer-proxy/up.env`), "--mode=audit");
      assertEquals(await read(`${root}/usr/local/bin/slicer`), "another program");
      await Deno.writeTextFile(`${root}/var/lib/slicer-proxy/state.kv`, "new");
      const back = await install("--rollback");
      assertEquals(back.code, 0, back.stderr);
      assertStringIncludes(await read(`${root}/usr/local/bin/slicer-proxy`), "echo 1");
      assertEquals(await read(`${root}/var/lib/slicer-proxy/state.kv`), "old");
      assertEquals(await read(`${root}/var/lib/slicer-proxy.newer/state.kv`), "new");
    }),
);

Deno.test(
  { ignore, name: "install.sh takes back a version that does not come up" },
  () =>
    inRoot(async (root, install, release) => {
      await install("--binary", await release("1"), "--service");
      await Deno.writeTextFile(`${root}/tools/sleep`, "#!/bin/sh\n", { mode: 0o755 });
      const { code, stderr } = await install("--binary", await release("2", 1));
      assertEquals(code, 1);
      assertStringIncludes(stderr, "the earlier version runs again");
      assertStringIncludes(await read(`${root}/usr/local/bin/slicer-proxy`), "echo 1");
    }),
);

Deno.test(
  { ignore, name: "install.sh refuses a binary that is not the release's" },
  () =>
    inRoot(async (root, install, release) => {
      const binary = await release("1");
      await Deno.writeTextFile(`${root}/SHA256SUMS`, `${"0".repeat(64)}  slicer-proxy-linux-x64\n`);
      const { code, stderr } = await install("--binary", binary);
      assertEquals(code, 1);
      assertStringIncludes(stderr, "download it again");
    }),
);
