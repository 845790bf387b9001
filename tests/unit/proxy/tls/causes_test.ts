/** Why handshakes fail, told by what OpenSSL really sends: a row for each cause. */
import { assert, assertEquals } from "@std/assert";
import { Deadlines } from "../../../../core/deadlines.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { hasNativeCalls } from "../../../../core/native.ts";
import type { Reason } from "../../../../policy/reason.ts";
import { toUpstreamError } from "../../../../proxy/course.ts";
import { Interceptor } from "../../../../proxy/tls/loopback.ts";
import { upstreamTlsError } from "../../../../proxy/tls/errors.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { peekClientHello } from "../../../../proxy/streams/client_hello.ts";
import { SocketStream } from "../../../../proxy/streams/socket_stream.ts";
import { hasProgram, runProgram } from "../../../support/programs.ts";
import { soon } from "../../../support/sockets.ts";
import { proxyAuthority } from "../../../support/test_authority.ts";
import { startOpenssl } from "../../../support/tls_servers.ts";

hasNativeCalls();
const hasOpenssl = hasProgram("openssl");
const hasFaketime = hasProgram("faketime");
const WEAK = ["-cipher", "DEFAULT@SECLEVEL=0"];

Deno.test({ name: "a client's failed handshake has its cause", ignore: !hasOpenssl }, async (t) => {
  const { caPem, issue } = await proxyAuthority();
  const certificate = await issue(["a.test"]);
  await using interceptor = Object.assign(
    new Interceptor({
      limits: { ...DEFAULT_LIMITS, lingerTimeoutMs: 200 },
      deadlines: new Deadlines(),
      now: () => Date.now(),
    }),
    { [Symbol.asyncDispose]: () => interceptor.close() },
  );
  const caFile = await Deno.makeTempFile({ suffix: ".pem" });
  await Deno.writeTextFile(caFile, caPem);
  const trusting = ["-verify_return_error", "-CAfile", caFile];
  const rows: readonly (readonly [name: string, args: readonly string[], Reason, when?: string])[] = [
    ["no protocol in common", ["-alpn", "foo"], "tls-client-alpn"],
    ["no cipher of TLS 1.2", ["-tls1_2", "-cipher", "AES128-SHA"], "tls-client-parameters"],
    ["no cipher of TLS 1.3", ["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"], "tls-client-parameters"],
    ["no group", ["-groups", "P-521"], "tls-client-parameters"],
    ["no signature", ["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"], "tls-client-parameters"],
    ["TLS 1.1", ["-tls1_1", ...WEAK], "tls-version"],
    ["unknown CA", ["-verify_return_error", "-verify", "5"], "tls-untrusted-ca"],
    ["unknown CA, TLS 1.2", ["-tls1_2", "-verify_return_error", "-verify", "5"], "tls-untrusted-ca"],
    ["a clock that is behind", trusting, "tls-client-clock", "-60d"],
    ["a clock that is behind, TLS 1.2", ["-tls1_2", ...trusting], "tls-client-clock", "-60d"],
    ["a clock that is ahead", trusting, "tls-client-clock", "+60y"],
  ];
  try {
    for (const [name, args, reason, when] of rows) {
      await t.step({
        name,
        ignore: when !== undefined && !hasFaketime,
        fn: async () => {
          using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
          const command = ["openssl", "s_client", "-connect", `127.0.0.1:${listener.addr.port}`, ...args];
          const [program = "", ...rest] = when === undefined ? command : ["faketime", "-f", when, ...command];
          const client = runProgram(program, [...rest, "-servername", "a.test"]);
          const stream = new SocketStream(await soon("the client", listener.accept()));
          const reader = new ByteReader(stream);
          await peekClientHello(reader, DEFAULT_LIMITS);
          const failure = await interceptor.terminate(
            stream,
            reader.takeAll(),
            "a.test",
            () => Promise.resolve(certificate),
          ).then(() => undefined, (error) => error);
          await client;
          assert(failure instanceof ProxyError, "the handshake worked");
          assertEquals(failure.reason, reason);
        },
      });
    }
  } finally {
    await Deno.remove(caFile);
  }
});

/** Certificates made by OpenSSL for `a.test`, in a folder of their own. */
async function makeCertificates(cwd: string): Promise<string> {
  const ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
  const sign = (name: string, by: string, more: string) =>
    `openssl x509 -req -in ${name}.csr -CA ${by}.crt -CAkey ${by}.key -CAcreateserial -out ${name}.crt ${more}`;
  const make = (name: string, key: string) =>
    `openssl req ${key} -nodes -keyout ${name}.key -out ${name}.csr -subj /CN=${name}`;
  const script = [
    `set -e; echo subjectAltName=DNS:a.test > leaf.ext; echo basicConstraints=critical,CA:TRUE > ca.ext`,
    `openssl req -x509 ${ec} -nodes -keyout ca.key -out ca.crt -days 3650 -subj /CN=ca -addext basicConstraints=critical,CA:TRUE`,
    ...[make("good", ec), sign("good", "ca", "-days 30 -extfile leaf.ext")],
    ...[make("weak", "-newkey rsa:1024"), sign("weak", "ca", "-days 30 -extfile leaf.ext")],
    ...[make("sha1", ec), sign("sha1", "ca", "-days 30 -extfile leaf.ext -sha1")],
    ...[make("between", ec), sign("between", "ca", "-days 30 -extfile ca.ext")],
    ...[make("below", ec), sign("below", "between", "-days 30 -extfile leaf.ext")],
    ...[make("expired", ec), sign("expired", "ca", "-days -1 -extfile leaf.ext")],
  ].join("\n");
  const { code, stderr } = await runProgram("sh", ["-c", script], { cwd });
  assertEquals(code, 0, stderr);
  return await Deno.readTextFile(`${cwd}/ca.crt`);
}

/** What Deno says of a handshake with `openssl s_server`, and of a first request. */
async function failureWith(
  cwd: string,
  args: readonly string[],
  { caPem, hostname }: { readonly caPem: string; readonly hostname: string },
): Promise<{ readonly error: unknown; readonly isLate: boolean }> {
  await using server = await startOpenssl(cwd, ["-naccept", "1", ...args]);
  let tls: Deno.TlsConn | undefined;
  let isLate = false;
  const tcp = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  try {
    tls = await Deno.startTls(tcp, { hostname, caCerts: [caPem], alpnProtocols: ["http/1.1"] });
    await soon("the handshake", tls.handshake());
    isLate = true;
    await tls.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
    while (await soon("an answer", tls.read(new Uint8Array(4_096))) !== null);
    return { error: undefined, isLate };
  } catch (error) {
    return { error, isLate };
  } finally {
    try {
      (tls ?? tcp).close();
    } catch {
      // a failed handshake has closed it
    }
  }
}

Deno.test({ name: "an upstream's failed handshake has its cause", ignore: !hasOpenssl }, async (t) => {
  const cwd = await Deno.makeTempDir({ prefix: "slicer-test-causes-" });
  const rows:
    readonly (readonly [name: string, leaf: string, args: readonly string[], Reason, host?: string])[] = [
      [
        "no cipher in common",
        "weak",
        ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],
        "tls-upstream-parameters",
      ],
      ["no group in common", "good", ["-groups", "P-521"], "tls-upstream-parameters"],
      ["a client certificate, TLS 1.2", "good", ["-tls1_2", "-Verify", "1"], "tls-upstream-parameters"],
      ["a client certificate, TLS 1.3", "good", ["-tls1_3", "-Verify", "1"], "tls-client-certificate"],
      ["a weak key", "weak", WEAK, "tls-weak-certificate"],
      ["SHA-1", "sha1", WEAK, "tls-weak-certificate"],
      ["a missing intermediate", "below", [], "tls-unknown-issuer"],
      ["an expired certificate", "expired", [], "tls-expired"],
      ["another name", "good", [], "tls-wrong-name", "b.test"],
      ["TLS 1.1", "weak", ["-tls1_1", ...WEAK], "tls-protocol"],
    ];
  try {
    const caPem = await makeCertificates(cwd);
    for (const [name, leaf, args, reason, hostname = "a.test"] of rows) {
      await t.step(name, async () => {
        const files = ["-cert", `${leaf}.crt`, "-key", `${leaf}.key`];
        const { error, isLate } = await failureWith(cwd, [...files, ...args], { caPem, hostname });
        assert(error instanceof Error, "the handshake worked");
        const told = isLate ? toUpstreamError(error, hostname) : upstreamTlsError(hostname, error);
        assert(told instanceof ProxyError);
        assertEquals([told.code, told.reason], ["upstream.tls", reason], error.message);
      });
    }
    await t.step("and what is right works", async () => {
      const args = ["-cert", "good.crt", "-key", "good.key"];
      const { error } = await failureWith(cwd, args, { caPem, hostname: "a.test" });
      assert(error === undefined || /close_notify/.test(String(error)), String(error));
    });
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
});
