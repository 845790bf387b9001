/**
 * The public registries as folders of files, each with one package, `demo` 1.0.0: what npm, pip, cargo, go and apt ask for,
 * under the names that they ask.
 */
import { documentOf, pack } from "./npm_registry.ts";
import { runProgram } from "./programs.ts";

/** The hosts that {@linkcode serveRegistryFile} answers for. */
export const REGISTRY_HOSTS = [
  "registry.npmjs.org",
  "pypi.org",
  "files.pythonhosted.org",
  "index.crates.io",
  "static.crates.io",
  "proxy.golang.org",
  "deb.debian.org",
] as const;

/** A file of a host; that of a folder is its `index`. */
export async function serveRegistryFile(root: string, { hostname, pathname }: URL): Promise<Response> {
  const path = `${root}/${hostname}${pathname}`;
  const read = (name: string) => Deno.readFile(name).catch(() => undefined);
  const bytes = await read(path) ?? await read(`${path.replace(/\/$/, "")}/index`);
  if (!bytes) return new Response("", { status: 404 });
  const type = pathname.startsWith("/simple/") ? "text/html" : "application/octet-stream";
  return new Response(bytes, { headers: { "content-type": type } });
}

/** Makes them all below `root`. */
export async function makeRegistries(root: string): Promise<void> {
  await Deno.mkdir(root, { recursive: true });
  const demo = { name: "demo" };
  const tarball = await pack(demo);
  await put(`${root}/registry.npmjs.org/demo/-/demo-1.0.0.tgz`, tarball);
  const document = await documentOf(demo, tarball, "https://registry.npmjs.org/");
  await put(`${root}/registry.npmjs.org/demo/index`, JSON.stringify(document));
  const wheel = "https://files.pythonhosted.org/packages/aa/bb/demo-1.0.0-py3-none-any.whl";
  await put(`${root}/pypi.org/simple/demo/index`, `<a href="${wheel}">demo-1.0.0-py3-none-any.whl</a>\n`);
  await zip(`${root}/files.pythonhosted.org/packages/aa/bb/demo-1.0.0-py3-none-any.whl`, {
    "demo.py": "NAME = 'demo'\n",
    "demo-1.0.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0.0\n",
    "demo-1.0.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "demo-1.0.0.dist-info/RECORD":
      "demo.py,,\ndemo-1.0.0.dist-info/METADATA,,\ndemo-1.0.0.dist-info/WHEEL,,\ndemo-1.0.0.dist-info/RECORD,,\n",
  });
  await makeCrate(root);
  await makeGoModule(`${root}/proxy.golang.org/demo.test/mod/@v`);
  await makeDebianArchive(`${root}/deb.debian.org/debian`);
}

async function makeCrate(root: string): Promise<void> {
  const source = `${root}/crate/demo-1.0.0`;
  await put(`${source}/Cargo.toml`, '[package]\nname = "demo"\nversion = "1.0.0"\nedition = "2021"\n');
  await put(`${source}/src/lib.rs`, "");
  const crate = `${root}/static.crates.io/crates/demo/1.0.0/download`;
  await put(crate, "");
  await run("tar", ["czf", crate, "-C", `${root}/crate`, "demo-1.0.0"]);
  const cksum = await sha256(crate);
  await put(
    `${root}/index.crates.io/config.json`,
    '{"dl":"https://static.crates.io/crates","api":"https://crates.io"}',
  );
  const line = { name: "demo", vers: "1.0.0", deps: [], cksum, features: {}, yanked: false };
  await put(`${root}/index.crates.io/de/mo/demo`, `${JSON.stringify(line)}\n`);
}

async function makeGoModule(folder: string): Promise<void> {
  const mod = "module demo.test/mod\n";
  await put(`${folder}/list`, "v1.0.0\n");
  await put(`${folder}/v1.0.0.info`, '{"Version":"v1.0.0","Time":"2026-01-01T00:00:00Z"}');
  await put(`${folder}/v1.0.0.mod`, mod);
  await zip(`${folder}/v1.0.0.zip`, {
    "demo.test/mod@v1.0.0/go.mod": mod,
    "demo.test/mod@v1.0.0/mod.go": "package mod\n",
  });
}

/** Not signed: `[trusted=yes]`. */
async function makeDebianArchive(root: string): Promise<void> {
  const control = [
    "Package: demo",
    "Version: 1.0.0",
    "Architecture: all",
    "Maintainer: t <t@t.test>",
    "Description: demo",
  ];
  await put(`${root}/build/DEBIAN/control`, `${control.join("\n")}\n`);
  const deb = `${root}/pool/main/d/demo/demo_1.0.0_all.deb`;
  await put(deb, "");
  await run("dpkg-deb", ["--build", "--root-owner-group", `${root}/build`, deb]);
  const arch = (await run("dpkg", ["--print-architecture"])).trim();
  const { size } = await Deno.stat(deb);
  const rest = [
    "Filename: pool/main/d/demo/demo_1.0.0_all.deb",
    `Size: ${size}`,
    `SHA256: ${await sha256(deb)}`,
  ];
  const packages = `main/binary-${arch}/Packages`;
  await put(`${root}/dists/stable/${packages}`, `${[...control, ...rest].join("\n")}\n`);
  const index = await Deno.stat(`${root}/dists/stable/${packages}`);
  const release = [
    "Suite: stable",
    "Codename: stable",
    `Architectures: ${arch}`,
    "Components: main",
    "Date: Thu, 01 Jan 2026 00:00:00 UTC",
    "SHA256:",
    ` ${await sha256(`${root}/dists/stable/${packages}`)} ${index.size} ${packages}`,
  ];
  await put(`${root}/dists/stable/Release`, `${release.join("\n")}\n`);
}

async function put(path: string, content: string | Uint8Array): Promise<void> {
  await Deno.mkdir(path.replace(/\/[^/]*$/, ""), { recursive: true });
  await Deno.writeFile(path, typeof content === "string" ? new TextEncoder().encode(content) : content);
}

async function zip(path: string, files: Readonly<Record<string, string>>): Promise<void> {
  await put(path, "");
  const program = "import json,sys,zipfile\nwith zipfile.ZipFile(sys.argv[1],'w') as z:\n" +
    "  for name, text in json.loads(sys.argv[2]).items(): z.writestr(name, text)\n";
  await run("python3", ["-c", program, path, JSON.stringify(files)]);
}

async function sha256(path: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(path));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function run(name: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runProgram(name, args);
  if (code !== 0) throw new Error(`${name}: ${stderr}`);
  return stdout;
}
