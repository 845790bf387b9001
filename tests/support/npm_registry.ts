/**
 * A small npm registry over TLS on loopback: documents and tarballs of packages that it makes itself, and the bulk audit
 * call, which npm makes once an installation has worked.
 */
import { upstreamAuthority } from "./test_authority.ts";

/** A package of one version, 1.0.0. */
export interface TestPackage {
  /** `name` or `@scope/name`. */
  readonly name: string;
  /** Names of packages that it needs. */
  readonly needs?: readonly string[];
}

export interface NpmRegistry extends AsyncDisposable {
  /** With a slash at its end. */
  readonly url: string;
  readonly port: number;
  /** Requests so far: `GET /npm/name`. */
  readonly seen: string[];
}

/** Starts it under `https://localhost:PORT/npm/`. */
export async function startNpmRegistry(packages: readonly TestPackage[]): Promise<NpmRegistry> {
  const { certPem, keyPem } = await (await upstreamAuthority()).issue(["localhost"]);
  const seen: string[] = [];
  const tarballs = new Map(
    await Promise.all(packages.map(async (each) => [each.name, await pack(each)] as const)),
  );
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert: certPem, key: keyPem, onListen: () => {} },
    async (request): Promise<Response> => {
      const { pathname, origin } = new URL(request.url);
      seen.push(`${request.method} ${pathname}`);
      if (request.method === "POST") return Response.json({});
      const path = decodeURIComponent(pathname).replace("/npm/", "");
      const found = packages.find(({ name }) => path === name || path.startsWith(`${name}/-/`));
      const tarball = tarballs.get(found?.name ?? "");
      if (!found || !tarball) return new Response("{}", { status: 404 });
      return path === found.name
        ? Response.json(await documentOf(found, tarball, `${origin}/npm/`))
        : new Response(tarball, { headers: { "content-type": "application/octet-stream" } });
    },
  );
  return {
    url: `https://localhost:${server.addr.port}/npm/`,
    port: server.addr.port,
    seen,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** What npm is told of a package; `base` is the registry's address, with a slash at its end. */
export async function documentOf(
  { name, needs = [] }: TestPackage,
  tarball: Uint8Array<ArrayBuffer>,
  base: string,
) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-512", tarball));
  return {
    name,
    "dist-tags": { latest: "1.0.0" },
    versions: {
      "1.0.0": {
        ...manifestOf({ name, needs }),
        dist: {
          tarball: `${base}${name}/-/${name.replace(/^.*\//, "")}-1.0.0.tgz`,
          integrity: `sha512-${btoa(String.fromCharCode(...digest))}`,
        },
      },
    },
  };
}

function manifestOf({ name, needs = [] }: TestPackage) {
  return {
    name,
    version: "1.0.0",
    main: "index.js",
    dependencies: Object.fromEntries(needs.map((each) => [each, "^1.0.0"])),
  };
}

/** `npm pack` without npm: a ustar archive of the two files. */
export async function pack(each: TestPackage): Promise<Uint8Array<ArrayBuffer>> {
  const files: [string, string][] = [
    ["package/package.json", JSON.stringify(manifestOf(each))],
    ["package/index.js", `module.exports = ${JSON.stringify(each.name)};\n`],
  ];
  const archive = new Blob([...files.flatMap(([name, text]) => tarEntry(name, text)), new Uint8Array(1_024)]);
  return new Uint8Array(
    await new Response(archive.stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer(),
  );
}

function tarEntry(name: string, text: string): Uint8Array<ArrayBuffer>[] {
  const content = new TextEncoder().encode(text);
  const header = new Uint8Array(512);
  const put = (at: number, value: string) => header.set(new TextEncoder().encode(value), at);
  put(0, name);
  put(100, "0000644\0");
  put(108, "0000000\0");
  put(116, "0000000\0");
  put(124, `${content.length.toString(8).padStart(11, "0")}\0`);
  put(136, "00000000000\0");
  put(148, "        ");
  put(156, "0");
  put(257, "ustar\x0000");
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
  return [header, content, new Uint8Array((512 - content.length % 512) % 512)];
}
