import { assert, assertEquals } from "@std/assert";
import {
  formatHost,
  formatHostPort,
  hyphenFault,
  isIpLiteral,
  parseAuthority,
  parseHost,
  parsePort,
} from "../../../core/host_port.ts";

const LABEL_63 = "a".repeat(63);
const NAME_253 = `${LABEL_63}.${LABEL_63}.${LABEL_63}.${"b".repeat(61)}`;

Deno.test("parseHost() gives the canonical host", async (t) => {
  const rows: readonly [string, string][] = [
    ["API.Example.COM", "api.example.com"],
    ["example.com.", "example.com"],
    ["localhost", "localhost"],
    ["_dmarc.example.com", "_dmarc.example.com"],
    ["xn--bcher-kva.example", "xn--bcher-kva.example"],
    ["1.example", "1.example"],
    ["example.c0m", "example.c0m"],
    ["0x.example", "0x.example"],
    ["127.0.0.1", "127.0.0.1"],
    ["2001:DB8::0001", "2001:db8::1"],
    [`${LABEL_63}.com`, `${LABEL_63}.com`],
    [NAME_253, NAME_253],
    [`${NAME_253}.`, NAME_253],
  ];
  for (const [text, host] of rows) await t.step(text.slice(0, 60), () => assertEquals(parseHost(text), host));
});

Deno.test("parseHost() refuses what can be read in more than one way", async (t) => {
  const rows: readonly [string, string][] = [
    ["empty", ""],
    ["only a dot", "."],
    ["two trailing dots", "example.com.."],
    ["empty label", "a..b"],
    ["leading dot", ".example.com"],
    ["leading hyphen", "-a.com"],
    ["trailing hyphen", "a-.com"],
    ["label of 64", `${LABEL_63}a.com`],
    ["name of 254", `${NAME_253}b`],
    ["space", "a b.com"],
    ["NUL", "a\0.com"],
    ["newline at the end", "a.com\n"],
    ["userinfo", "user@example.com"],
    ["percent-encoding", "ex%61mple.com"],
    ["slash", "example.com/a"],
    ["backslash", "example.com\\a"],
    ["wildcard", "*.example.com"],
    ["U-label", "bücher.example"],
    ["Cyrillic homograph", "аpple.com"],
    ["Kelvin sign, lower case k", "\u212aey.com"],
    ["full-width dot", "example．com"],
    ["ideographic dot", "example。com"],
    ["soft hyphen", "exam\u00adple.com"],
    ["octal IPv4", "0177.0.0.1"],
    ["hexadecimal IPv4", "0x7f000001"],
    ["hexadecimal last part", "127.0.0.0x1"],
    ["upper-case hexadecimal", "127.0.0.0X1"],
    ["decimal IPv4", "2130706433"],
    ["short IPv4", "127.1"],
    ["IPv4 with trailing dot", "127.0.0.1."],
    ["IPv4 out of range", "127.0.0.256"],
    ["name ending in a number", "example.1"],
    ["name ending in 0x", "example.0x"],
    ["IPv6 with zone id", "fe80::1%eth0"],
    ["IPv6 in brackets", "[::1]"],
    ["IPv6 with trailing dot", "::1."],
    ["host and port", "example.com:443"],
  ];
  for (const [name, text] of rows) await t.step(name, () => assertEquals(parseHost(text), undefined));
});

Deno.test("parsePort() takes 1 to 65535 in plain decimal", async (t) => {
  const rows: readonly [string, number | undefined][] = [
    ["1", 1],
    ["65535", 65_535],
    ["0", undefined],
    ["65536", undefined],
    ["080", undefined],
    ["+80", undefined],
    ["-1", undefined],
    [" 80", undefined],
    ["80\n", undefined],
    ["8e1", undefined],
    ["0x50", undefined],
    ["99999999999999999999", undefined],
    ["", undefined],
  ];
  for (const [text, port] of rows) {
    await t.step(JSON.stringify(text), () => assertEquals(parsePort(text), port));
  }
});

Deno.test("parseAuthority() reads host and port", async (t) => {
  const rows: readonly [string, number | undefined, string | undefined][] = [
    ["example.com:443", undefined, "example.com:443"],
    ["example.com.:443", undefined, "example.com:443"],
    ["EXAMPLE.com", 80, "example.com:80"],
    ["[::1]:8443", undefined, "[::1]:8443"],
    ["[2001:DB8::1]", 443, "[2001:db8::1]:443"],
    ["127.0.0.1:80", undefined, "127.0.0.1:80"],
    ["example.com", undefined, undefined],
    ["example.com:", 80, undefined],
    ["example.com:0", 80, undefined],
    ["example.com:65536", 80, undefined],
    ["example.com:+80", 80, undefined],
    ["example.com:80:80", 80, undefined],
    ["user@example.com:443", undefined, undefined],
    ["user:pass@example.com:443", undefined, undefined],
    ["example.com@evil.test:443", undefined, undefined],
    ["::1:443", undefined, undefined],
    ["[::1]443", undefined, undefined],
    ["[::1", 443, undefined],
    ["[example.com]:443", undefined, undefined],
    ["[127.0.0.1]:443", undefined, undefined],
    ["[fe80::1%25eth0]:443", undefined, undefined],
    ["[fe80::1%eth0]:443", undefined, undefined],
    ["[v1.x]:443", undefined, undefined],
    ["example.com/a:443", undefined, undefined],
    ["example.com#:443", undefined, undefined],
    ["example.com?:443", undefined, undefined],
    [" example.com:443", undefined, undefined],
    ["example.com:443 ", undefined, undefined],
    ["", 443, undefined],
    [":443", undefined, undefined],
  ];
  for (const [text, defaultPort, printed] of rows) {
    await t.step(JSON.stringify(text), () => {
      const authority = parseAuthority(text, defaultPort);
      assertEquals(authority && formatHostPort(authority), printed);
    });
  }
});

Deno.test("formatHost() puts brackets around IPv6 only, isIpLiteral() knows both families", () => {
  assertEquals(["::1", "127.0.0.1", "a.test"].map(formatHost), ["[::1]", "127.0.0.1", "a.test"]);
  assertEquals(["::1", "127.0.0.1", "a.test"].map(isIpLiteral), [true, true, false]);
});

Deno.test("hyphenFault() is said of names that have no other fault, in one pass", () => {
  for (const text of ["foo-.host", "-foo.host", "a.-.host", "foo.host-", "foo--.host", "a.-b-.c.", "-"]) {
    assertEquals(hyphenFault(text), "a label of its host begins or ends with a hyphen", text);
  }
  for (
    const text of ["foo.host", "a-b.host", "foo-..host", "foo-.ho st", "-1.2", "", "foo-.host:80", "[-]"]
  ) {
    assertEquals(hyphenFault(text), undefined, text);
  }
  const startedAt = performance.now();
  for (let i = 0; i < 100; i++) hyphenFault("-.".repeat(30_000));
  assert(performance.now() - startedAt < 5_000);
});
