/** TLS servers with certificates that OpenSSL made: good ones, and one for each thing that can be wrong with one. */
import { assert, assertEquals } from "@std/assert";
import { runProgram } from "./programs.ts";
import { soon } from "./sockets.ts";

/** A server that listens on loopback. */
export interface TlsServer extends AsyncDisposable {
  readonly port: number;
}

const HOSTILE_NAMES = 400;

/**
 * Makes `NAME.crt` and `NAME.key` in a folder, all for `a.test` but where the name says otherwise.
 *
 * @returns the root, PEM
 */
export async function makeCertificates(cwd: string): Promise<string> {
  const ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
  const request = (name: string, subject: string, key = ec) =>
    `openssl req ${key} -nodes -keyout ${name}.key -out ${name}.csr -subj '${subject}'`;
  const signed = (name: string, by: string, ext: string, more = "-days 30") =>
    `openssl x509 -req -in ${name}.csr -CA ${by}.crt -CAkey ${by}.key -CAcreateserial -out ${name}.crt ${more}` +
    (ext === "" ? "" : ` -extfile ${ext}.ext`);
  const leaf = (name: string, ext = "a", more?: string, key?: string) =>
    [request(name, "/CN=a.test", key), signed(name, "root", ext, more)].join("\n");
  const root = (name: string) =>
    `openssl req -x509 ${ec} -nodes -keyout ${name}.key -out ${name}.crt -days 3650 -subj '/O=Corp/CN=Corp ${name}' ` +
    "-addext basicConstraints=critical,CA:TRUE";
  const self = (name: string, basic: string) =>
    `openssl req -x509 ${ec} -nodes -keyout ${name}.key -out ${name}.crt -days 30 -subj /CN=a.test ` +
    `-addext subjectAltName=DNS:a.test -addext basicConstraints=critical,CA:${basic}`;
  const many = Array.from({ length: HOSTILE_NAMES }, (_, i) => `DNS:n${i}.test`).join(",");
  const script = [
    "set -e",
    "echo subjectAltName=DNS:a.test > a.ext",
    "echo 'subjectAltName=DNS:*.w.test,IP:127.0.0.1' > wild.ext",
    "echo basicConstraints=critical,CA:TRUE > ca.ext",
    "echo keyUsage=digitalSignature > nosan.ext",
    "printf 'subjectAltName=DNS:a.test\\nextendedKeyUsage=clientAuth\\n' > client.ext",
    "printf 'subjectAltName=DNS:a.test\\nauthorityInfoAccess=caIssuers;URI:http://ca.test/issuing.crt\\n' > aia.ext",
    `echo subjectAltName=${many} > many.ext`,
    ...[root("root"), root("stranger"), self("self", "FALSE"), self("selfca", "TRUE")],
    ...[leaf("good"), leaf("wild", "wild"), leaf("expired", "a", "-days -1")],
    ...[leaf("weak", "a", "-days 30", "-newkey rsa:1024"), leaf("sha1", "a", "-days 30 -sha1")],
    ...[leaf("version1", ""), leaf("nosan", "nosan"), leaf("client", "client"), leaf("many", "many")],
    ...[request("issuing", "/O=Corp/CN=Corp issuing CA"), signed("issuing", "root", "ca")],
    ...[request("below", "/CN=a.test"), signed("below", "issuing", "aia")],
    ...[request("oldca", "/O=Corp/CN=Corp old CA"), signed("oldca", "root", "ca", "-days -1")],
    ...[request("underold", "/CN=a.test"), signed("underold", "oldca", "a")],
    ...[request("strange", "/CN=a.test"), signed("strange", "stranger", "a")],
    ...[request("middle", "/O=Other/CN=Other CA"), signed("middle", "stranger", "ca")],
    ...[request("undermiddle", "/CN=a.test"), signed("undermiddle", "middle", "a")],
    `evil=$(printf '/CN=\\033[31mred\\rCA "x" %040d' 1)`,
    `openssl req ${ec} -nodes -keyout evil.key -out evil.csr -utf8 -subj "$evil"`,
    ...[signed("evil", "root", "ca"), request("underevil", "/CN=a.test"), signed("underevil", "evil", "a")],
  ].join("\n");
  const { code, stderr } = await runProgram("sh", ["-c", script], { cwd });
  assertEquals(code, 0, stderr);
  return await Deno.readTextFile(`${cwd}/root.crt`);
}

/** `openssl s_server`, for as many connections as come, in the folder of the certificates. */
export async function startOpenssl(cwd: string, args: readonly string[]): Promise<TlsServer> {
  const server = new Deno.Command("openssl", {
    args: ["s_server", "-accept", "127.0.0.1:0", "-www", ...args],
    cwd,
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const output = server.stdout.getReader();
  let said = "";
  while (!/ACCEPT 127\.0\.0\.1:\d+\n/.test(said)) {
    const { value, done } = await soon("s_server listens", output.read());
    assert(!done, `s_server ended: ${said}`);
    said += new TextDecoder().decode(value);
  }
  return {
    port: Number(/ACCEPT 127\.0\.0\.1:(\d+)\n/.exec(said)?.[1]),
    [Symbol.asyncDispose]: async () => {
      try {
        server.kill("SIGKILL");
      } catch {
        // it has ended by itself, as with -naccept
      }
      await server.status;
      await output.cancel();
    },
  };
}
