/**
 * What the tests of `ca/` share: a folder, a clock, OpenSSL as the second opinion, and a TLS handshake.
 *
 * @module
 */
import type { Clock } from "../../../core/clock.ts";
import type { Leaf } from "../../../ca/leaf.ts";

export const DAY_MS = 86_400_000;

/** A clock that stands at `nowMs` until it is set. */
export class SetClock implements Clock {
  constructor(public nowMs: number = Date.now()) {}
  now(): number {
    return this.nowMs;
  }
  monotonic(): number {
    return this.nowMs;
  }
}

/** A new folder that is removed with what is in it. */
export async function temporaryFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "slicer-ca-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** Runs openssl. `ok` is its verdict, `text` what it said on both streams. */
export async function openssl(
  args: readonly string[],
  cwd?: string,
): Promise<{ readonly ok: boolean; readonly text: string }> {
  const { success, stdout, stderr } = await new Deno.Command("openssl", {
    args: [...args],
    stdin: "null",
    ...(cwd === undefined ? {} : { cwd }),
  }).output();
  const decoder = new TextDecoder();
  return { ok: success, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** As {@linkcode openssl}, for steps that must not fail. */
export async function opensslDo(args: readonly string[], cwd: string): Promise<string> {
  const { ok, text } = await openssl(args, cwd);
  if (!ok) throw new Error(`openssl ${args.join(" ")}: ${text}`);
  return text;
}

const hasOpenssl = await openssl(["version"]).then(({ ok }) => ok, () => false);

/** Options of a test that needs openssl; says so where it is skipped. */
export function withOpenssl(name: string): { readonly name: string; readonly ignore: boolean } {
  return { name: hasOpenssl ? name : `${name} (skipped: openssl is not installed)`, ignore: !hasOpenssl };
}

/** Makes a CA with openssl: `ca.key` as it is in `dir`, `ca.crt` self-signed for it. */
export async function selfSign(dir: string, extra: readonly string[] = []): Promise<void> {
  await opensslDo([
    ...["req", "-x509", "-new", "-key", "ca.key", "-out", "ca.crt", "-subj", "/O=Someone/CN=Test CA"],
    ...(extra.includes("-days") ? [] : ["-days", "900"]),
    ...(extra.includes("-addext") ? [] : ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]),
    ...extra,
  ], dir);
}

/** Deno's own TLS client against Deno's own TLS server with the leaf. Rejects as the client does. */
export async function handshake(leaf: Leaf, hostname: string, caPem: string): Promise<void> {
  using listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert: leaf.certPem, key: leaf.keyPem });
  const serving = (async () => {
    using accepted = await listener.accept();
    await accepted.handshake().catch(() => {});
  })();
  using raw = await Deno.connect({ hostname: "127.0.0.1", port: (listener.addr as Deno.NetAddr).port });
  try {
    using client = await Deno.startTls(raw, { hostname, caCerts: [caPem] });
    await client.handshake();
  } finally {
    await serving;
  }
}
