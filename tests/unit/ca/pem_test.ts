import { assertEquals, assertThrows } from "@std/assert";
import { formatPem, parsePem } from "../../../ca/pem.ts";
import { isProxyError, ProxyError } from "../../../core/errors.ts";

Deno.test("parsePem() returns what formatPem() wrote, for every length around a line's end", async (t) => {
  for (const length of [0, 1, 47, 48, 49, 96, 1_000]) {
    await t.step(`${length} bytes`, () => {
      const der = crypto.getRandomValues(new Uint8Array(length));
      const text = formatPem("CERTIFICATE", der);
      assertEquals(parsePem(text, "x"), [{ label: "CERTIFICATE", hasHeaders: false, der }]);
      for (const line of text.split("\n").slice(1, -2)) assertEquals(line.length <= 64, true);
    });
  }
});

Deno.test("parsePem() reads several blocks and skips what stands around them", () => {
  const text = "Bag Attributes\r\n" + formatPem("A", new Uint8Array([1])).replaceAll("\n", "\r\n") +
    "subject=CN\n" + formatPem("B C", new Uint8Array([2]));
  assertEquals(parsePem(text, "x").map(({ label, der }) => [label, ...der]), [["A", 1], ["B C", 2]]);
  assertEquals(parsePem("no block at all", "x"), []);
});

Deno.test("parsePem() does not pair blocks of different labels", () => {
  assertEquals(parsePem("-----BEGIN A-----\nAQ==\n-----END B-----\n", "x"), []);
});

Deno.test("parsePem() marks a block with headers, as OpenSSL writes encrypted keys", () => {
  const text =
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAQ==\n-----END RSA PRIVATE KEY-----\n";
  assertEquals(parsePem(text, "x").map(({ hasHeaders }) => hasHeaders), [true]);
});

Deno.test("parsePem() refuses a block that is not base64, without showing it", () => {
  const text = "-----BEGIN PRIVATE KEY-----\nsecret*\n-----END PRIVATE KEY-----\n";
  const error = assertThrows(() => parsePem(text, "ca.key"), ProxyError, "Cannot read ca.key");
  assertEquals(isProxyError(error, "ca.invalid"), true);
  assertEquals(error.message.includes("secret"), false);
});
