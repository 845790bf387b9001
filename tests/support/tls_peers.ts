/** TLS servers of the runtime on loopback, that say how their handshakes end. */
import { createServer } from "node:tls";
import { soon } from "./sockets.ts";
import { makeAuthority, type TestAuthority, upstreamAuthority } from "./test_authority.ts";

/** See {@linkcode startAsker}. */
export interface CertificateAsker extends AsyncDisposable {
  readonly port: number;
  /** Common names that were shown; `""` for none. */
  readonly shown: readonly string[];
  readonly caPem: string;
}

let clients: Promise<TestAuthority> | undefined;

/** A client certificate for a name. */
export async function clientCertificate(name = "robot.test") {
  const { certPem, keyPem } = await (await (clients ??= makeAuthority("test-clients"))).issue([name]);
  return { certPem, keyPem };
}

/** Asks for a client certificate, says hello, and echoes what it gets. */
export async function startAsker(
  { names = ["up.test"], alpn = ["http/1.1"] }: {
    readonly names?: readonly string[];
    readonly alpn?: readonly string[];
  } = {},
): Promise<CertificateAsker> {
  const ca = await upstreamAuthority();
  const { certPem: cert, keyPem: key } = await ca.issue(names);
  const shown: string[] = [];
  const server = createServer({
    ...{ cert, key, requestCert: true, rejectUnauthorized: false },
    ...(alpn.length > 0 ? { ALPNProtocols: [...alpn] } : {}),
  }, (socket) => {
    shown.push(String(socket.getPeerCertificate()?.subject?.CN ?? ""));
    socket.on("error", () => {});
    socket.write("hello");
    socket.pipe(socket);
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as { readonly port: number }).port,
    shown,
    caPem: ca.caPem,
    [Symbol.asyncDispose]: () =>
      soon("the server's end", new Promise<void>((resolve) => server.close(() => resolve()))),
  };
}
