import { assertEquals, assertStringIncludes } from "@std/assert";
import type { Reason } from "../../../../policy/reason.ts";
import { clientTlsFailure, lateTlsError, upstreamTlsError } from "../../../../proxy/tls/errors.ts";

Deno.test("clientTlsFailure() names what the library's text means", async (t) => {
  const rows: readonly (readonly [string, Reason])[] = [
    ["received fatal alert: UnknownCA", "tls-untrusted-ca"],
    ["received fatal alert: BadCertificate", "tls-untrusted-ca"],
    ["received fatal alert: CertificateUnknown", "tls-untrusted-ca"],
    ["received fatal alert: CertificateExpired", "tls-client-clock"],
    ["received corrupt message of type InvalidContentType", "tls-no-client-hello"],
    ["received corrupt message of type HandshakePayloadTooLarge", "tls-no-client-hello"],
    ["peer is incompatible: SignatureAlgorithmsExtensionRequired", "tls-version"],
    ["peer is incompatible: Tls12NotOfferedOrEnabled", "tls-version"],
    ["unexpected end of file", "client-closed"],
    ["Connection reset by peer (os error 104)", "client-closed"],
    ["received fatal alert: UserCanceled", "tls-handshake"],
    ["received fatal alert: AccessDenied", "tls-handshake"],
    ...["CipherSuites", "KxGroups", "SignatureSchemes"].map((
      what,
    ): [string, Reason] => [`peer is incompatible: No${what}InCommon`, "tls-client-parameters"]),
    ["received fatal alert: ProtocolVersion", "tls-version"],
    ["something new", "tls-handshake"],
  ];
  for (const [text, reason] of rows) {
    await t.step(
      text,
      () => assertEquals(clientTlsFailure(new Error(text), { isOpenssl: false }).reason, reason),
    );
  }
});

Deno.test("clientTlsFailure() takes OpenSSL by its word: it says BadCertificate of the clock", () => {
  const reasonOf = (text: string) => clientTlsFailure(new Error(text), { isOpenssl: true }).reason;
  assertEquals(reasonOf("received fatal alert: BadCertificate"), "tls-client-clock");
  assertEquals(reasonOf("received fatal alert: UnknownCA"), "tls-untrusted-ca");
});

Deno.test("upstreamTlsError() names the reason, says the host and not the library's text", async (t) => {
  const rows: readonly (readonly [string, Reason])[] = [
    ["invalid peer certificate: certificate expired: verification time 3", "tls-expired"],
    ["invalid peer certificate: certificate not valid yet: verification time 3", "tls-not-yet-valid"],
    ['invalid peer certificate: certificate not valid for name "up.test"', "tls-wrong-name"],
    ["invalid peer certificate: UnknownIssuer", "tls-unknown-issuer"],
    ["invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", "tls-self-signed"],
    ["invalid peer certificate: Other(OtherError(UnsupportedCertVersion))", "tls-weak-certificate"],
    ["invalid peer certificate: something new", "tls-weak-certificate"],
    ["received fatal alert: UnrecognisedName", "tls-wrong-name"],
    ["received fatal alert: ProtocolVersion", "tls-protocol"],
    ["received fatal alert: HandshakeFailure", "tls-upstream-parameters"],
    ["received fatal alert: InsufficientSecurity", "tls-upstream-parameters"],
    ["invalid peer certificate: UnsupportedSignatureAlgorithm", "tls-weak-certificate"],
    ["invalid peer certificate: BadSignature", "tls-weak-certificate"],
    ["received corrupt message of type InvalidContentType", "tls-protocol"],
    ["received fatal alert: CertificateRequired", "tls-client-certificate"],
    ["unexpected end of file", "upstream-closed"],
    ["something new", "tls-protocol"],
    // Of node:tls, where a client certificate is shown.
    ["certificate has expired", "tls-expired"],
    ["certificate is not yet valid", "tls-not-yet-valid"],
    ["Hostname/IP does not match certificate's altnames: Host: up.test. is not in", "tls-wrong-name"],
    ["unable to verify the first certificate", "tls-unknown-issuer"],
    ["unable to get local issuer certificate", "tls-unknown-issuer"],
    ["self-signed certificate", "tls-self-signed"],
    ["self-signed certificate in certificate chain", "tls-unknown-issuer"],
  ];
  for (const [text, reason] of rows) {
    await t.step(text, () => {
      const error = upstreamTlsError("up.test", new Error(text));
      assertEquals([error.code, error.reason], ["upstream.tls", reason]);
      assertStringIncludes(error.message, "Cannot trust up.test: ");
      assertEquals(error.message.includes("invalid peer"), false);
    });
  }
});

Deno.test("what is said of a failed handshake is about its cause", () => {
  const upstream = (text: string) => upstreamTlsError("up.test", new Error(text)).message;
  const rows: readonly [text: string, words: string][] = [
    ["invalid peer certificate: BadSignature", "its certificate's signature is wrong"],
    ["invalid peer certificate: UnsupportedSignatureAlgorithm", "such as SHA-1"],
    ["invalid peer certificate: Other(OtherError(UnsupportedCertVersion))", "X.509 version 1"],
    ["invalid peer certificate: InvalidPurpose", "extended key usage"],
    ["invalid peer certificate: something new", "is malformed"],
    ["received fatal alert: ProtocolVersion", "does not speak TLS 1.2 or 1.3 on this port"],
    ["something new", "the TLS handshake failed"],
  ];
  for (const [text, words] of rows) assertStringIncludes(upstream(text), words);
  assertEquals(
    clientTlsFailure(new Error("received fatal alert: UserCanceled"), { isOpenssl: false }).words,
    "the client gave up the handshake",
  );
});

Deno.test("upstreamTlsError() says which names a certificate has, so many of them, where that is what is wrong", async (t) => {
  const wrong =
    'invalid peer certificate: certificate not valid for name "up.test"; certificate is only valid for ';
  const dns = (count: number) =>
    Array.from({ length: count }, (_, at) => `DnsName("n${at}.test")`).join(" or ");
  const quoted = (count: number) => Array.from({ length: count }, (_, at) => `"n${at}.test"`).join(", ");
  const filled = (size: number) => `${wrong}${dns(1)}`.padEnd(size, ".");
  const rows: readonly (readonly [name: string, text: string, end: string])[] = [
    ["one", wrong + dns(1), `its certificate is for another name: it has ${quoted(1)}`],
    ["six", wrong + dns(6), `: it has ${quoted(6)}`],
    ["seven", wrong + dns(7), `: it has ${quoted(6)} and more`],
    ["an address", `${wrong}IpAddress(10.0.0.1)`, ': it has "10.0.0.1"'],
    [
      "of node:tls",
      "Hostname/IP does not match certificate's altnames: Host: up.test. is not in DNS:a.test, IP Address:10.0.0.1",
      ': it has "a.test", "10.0.0.1"',
    ],
    ["none", `${wrong.split(";")[0]}; not valid for any names`, ": it has none"],
    ["not said", wrong.split(";")[0] ?? "", "its certificate is for another name"],
    ["a text that is read to its end", filled(8_192), `: it has ${quoted(1)}`],
    ["a longer one", filled(8_193), `: it has ${quoted(1)} and more`],
    [
      "a name behind what is read",
      `${wrong.padEnd(8_182, ".")}${dns(1)}`,
      "its certificate is for another name",
    ],
    ["another failure", `invalid peer certificate: UnknownIssuer ${dns(1)}`, "the intermediate certificate"],
  ];
  for (const [name, text, end] of rows) {
    await t.step(name, () => {
      const { message } = upstreamTlsError("up.test", new Error(text));
      assertEquals(message.slice(-end.length), end);
    });
  }
});

Deno.test("lateTlsError() is about an upstream that wanted a certificate, and nothing else", () => {
  const late = lateTlsError("up.test", new Error("received fatal alert: CertificateRequired"));
  assertEquals([late?.code, late?.reason], ["upstream.tls", "tls-client-certificate"]);
  for (const text of ["received fatal alert: HandshakeFailure", "CertificateRequired", "Connection reset"]) {
    assertEquals(lateTlsError("up.test", new Error(text)), undefined, text);
  }
});
