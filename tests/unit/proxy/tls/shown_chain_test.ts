import { assert, assertEquals } from "@std/assert";
import {
  findInChain,
  type ShownCertificate,
  type ShownName,
  shownUrl,
} from "../../../../proxy/tls/shown_chain.ts";

const NOW = Date.UTC(2026, 0, 2, 3, 4);
const DAY = 86_400_000;
const ROOT = { commonName: "Root", organization: "Acme" };
const MIDDLE = { commonName: "Middle" };
const LEAF = { commonName: "up.test" };

function certificate(
  subject: ShownName,
  issuer: ShownName,
  more: Partial<ShownCertificate> = {},
): ShownCertificate {
  return { subject, issuer, beginsAtMs: NOW - DAY, endsAtMs: NOW + DAY, ...more };
}

const find = (reason: string, certificates: readonly ShownCertificate[], isWhole = true) =>
  findInChain(reason, { certificates, isWhole }, NOW);

Deno.test("findInChain() says of an issuer that is not trusted what would help", async (t) => {
  const leaf = certificate(LEAF, MIDDLE, { issuerUrl: "http://ca.test/middle.crt" });
  const place = "; it says that this one is at http://ca.test/middle.crt";
  const rows: readonly [
    name: string,
    certificates: ShownCertificate[],
    isWhole: boolean,
    reason: string,
    words: string,
  ][] = [
    ["self-signed", [certificate(LEAF, LEAF)], true, "tls-self-signed", 'self-signed ("up.test")'],
    [
      "self-signed, of a runtime that shows no more",
      [certificate(LEAF, LEAF)],
      false,
      "tls-self-signed",
      "self-signed",
    ],
    [
      "a runtime that shows the first alone",
      [leaf],
      false,
      "tls-unknown-issuer",
      `from "Middle", which is not`,
    ],
    ["no intermediate", [leaf], true, "tls-incomplete-chain", "does not send the certificate of its issuer"],
    [
      "a root that is not trusted",
      [leaf, certificate(MIDDLE, ROOT), certificate(ROOT, ROOT)],
      true,
      "tls-unknown-issuer",
      'leads to the root "Root" of "Acme", which',
    ],
    [
      "one intermediate of two",
      [leaf, certificate(MIDDLE, ROOT)],
      true,
      "tls-unknown-issuer",
      'leads to "Root" of "Acme"',
    ],
  ];
  for (const [name, certificates, isWhole, reason, words] of rows) {
    await t.step(name, () => {
      const found = find("tls-unknown-issuer", certificates, isWhole);
      assertEquals(found?.reason, reason);
      assert(found?.words.includes(words), found?.words);
      assertEquals(found?.words.endsWith(place), certificates.length === 1 && certificates[0] === leaf);
    });
  }
  await t.step("the same name of another organization is another", () => {
    const other = certificate({ commonName: "Root", organization: "Evil" }, ROOT);
    assertEquals(find("tls-unknown-issuer", [other])?.reason, "tls-incomplete-chain");
  });
  await t.step("nothing was shown", () => assertEquals(find("tls-unknown-issuer", []), undefined));
});

Deno.test("findInChain() says which certificate is out of its time, up to the edge", async (t) => {
  const issuer = (
    more: Partial<ShownCertificate>,
  ) => [certificate(LEAF, MIDDLE), certificate(MIDDLE, ROOT, more)];
  const clock = "(this machine's clock says 2026-01-02 03:04 UTC)";
  await t.step("ended", () => {
    assertEquals(find("tls-expired", [certificate(LEAF, MIDDLE, { endsAtMs: NOW - 1 })]), {
      reason: "tls-expired",
      words: `its certificate ended on 2026-01-02 03:03 UTC ${clock}`,
    });
    assertEquals(find("tls-expired", [certificate(LEAF, MIDDLE, { endsAtMs: NOW })]), undefined);
    assertEquals(
      find("tls-expired", issuer({ endsAtMs: NOW - DAY }))?.words,
      `the certificate of its issuer "Middle" ended on 2026-01-01 03:04 UTC ${clock}`,
    );
  });
  await t.step("not begun", () => {
    assertEquals(find("tls-not-yet-valid", [certificate(LEAF, MIDDLE, { beginsAtMs: NOW + 60_000 })]), {
      reason: "tls-not-yet-valid",
      words: `its certificate is not valid before 2026-01-02 03:05 UTC ${clock}`,
    });
    assertEquals(find("tls-not-yet-valid", [certificate(LEAF, MIDDLE, { beginsAtMs: NOW })]), undefined);
    assertEquals(
      find("tls-not-yet-valid", [certificate(LEAF, MIDDLE, { beginsAtMs: Infinity })])?.words.includes(
        "no date",
      ),
      true,
    );
  });
  await t.step(
    "another reason",
    () => assertEquals(find("tls-wrong-name", issuer({ endsAtMs: 0 })), undefined),
  );
});

Deno.test("names of certificates are the upstream's: bounded, and said where there is none", () => {
  const words = (issuer: ShownName) =>
    find("tls-unknown-issuer", [certificate(LEAF, issuer)], false)?.words ?? "";
  assert(words({}).includes("from somebody without a name,"));
  assert(words({ organization: "Acme" }).includes('from "Acme",'));
  assert(!words({ commonName: "x".repeat(500), organization: "y\n".repeat(500) }).includes("\n"));
  assert(words({ commonName: "x".repeat(500), organization: "y".repeat(500) }).length < 400);
  for (const part of ["commonName", "organization"]) {
    assert(words({ [part]: "x".repeat(80) }).includes(`from "${"x".repeat(80)}",`));
    assert(!words({ [part]: "x".repeat(81) }).includes("x".repeat(81)));
  }
});

Deno.test("shownUrl() takes a plain URL of 200 characters at most", () => {
  const longest = "http://ca.test/".padEnd(200, "x");
  assertEquals([shownUrl(longest), shownUrl("https://ca.test/a")], [longest, "https://ca.test/a"]);
  for (const text of [`${longest}x`, "ftp://ca.test/", "http://", "http://a b", "xhttp://a", 7, undefined]) {
    assertEquals(shownUrl(text), undefined, String(text));
  }
});
