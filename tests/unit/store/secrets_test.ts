import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import type { Mutation, Row } from "../../../store/engine.ts";
import type { SecretRecord } from "../../../store/records.ts";
import {
  checkStorable,
  parseSecretHost,
  readSecret,
  removeSecret,
  secretBinding,
  type StoredSecret,
  writeSecret,
} from "../../../store/secrets.ts";
import { keysOf } from "./memory_engine.ts";
import { assertCode } from "./support.ts";

const { sealing } = await keysOf(1);

const FEWEST: SecretRecord = {
  name: "key",
  host: "a.test",
  type: "bearer",
  version: "1",
  cleartext: false,
  createdAt: 2,
};

const MOST: SecretRecord = {
  ...FEWEST,
  cleartext: true,
  updatedAt: 3,
  adoptedAt: 4,
  refreshedAt: 5,
  refreshingSince: 6,
  lease: "lease",
  leaseUntil: 7,
  sourceFile: "/source",
  sourceUid: 8,
  error: "error",
  env: ["PLANTED"],
};

function rowOf({ key, value }: Mutation): Row & { readonly value: Readonly<Record<string, unknown>> } {
  return { key, value: value ?? {} };
}

async function written(stored: StoredSecret) {
  return rowOf(await writeSecret(sealing, stored));
}

Deno.test("parseSecretHost() binds a secret to a name, an address, or what is below two labels", () => {
  for (
    const [text, host] of [
      ["API.example.com.", "api.example.com"],
      ["localhost", "localhost"],
      ["10.0.0.1", "10.0.0.1"],
      ["[::1]", "::1"],
      ["*.example.com", "*.example.com"],
      ["*.a.b", "*.a.b"],
    ] as const
  ) assertEquals(parseSecretHost(text), host);
  for (const text of ["*", "*.com", "*.COM.", "", "a..b", "*.*.com", "api.*.com"]) {
    assertEquals(assertThrows(() => parseSecretHost(text), ProxyError).code, "input.invalid", text);
  }
  const { message, hint } = assertThrows(() => parseSecretHost("*.com"), ProxyError);
  assertEquals([message, hint], [
    "Cannot bind a secret to *.com: it would be sent almost anywhere",
    "write api.example.com or *.example.com",
  ]);
});

Deno.test("checkStorable() takes text of 48 KiB and a printable path of 4 KiB, and shows neither", () => {
  const fine: readonly (readonly [value: string, sourceFile: string | undefined])[] = [
    ["", undefined],
    ["v".repeat(49_152), undefined],
    ["é".repeat(24_576), undefined],
    ["line\nfeed", " "],
    ["v", "/".repeat(4_096)],
    ["v", "é".repeat(2_048)],
  ];
  for (const [value, sourceFile] of fine) checkStorable(value, sourceFile);
  const bad: readonly (readonly [value: string, sourceFile: string | undefined, says: string])[] = [
    ["v".repeat(49_153), undefined, "at most 49152 bytes"],
    [`${"é".repeat(24_576)}v`, undefined, "at most 49152 bytes"],
    ["planted\ud800", undefined, "Cannot store this value"],
    ["v", "", "empty, too long or unprintable"],
    ["v", "/".repeat(4_097), "empty, too long or unprintable"],
    ["v", `${"é".repeat(2_048)}/`, "empty, too long or unprintable"],
    ["v", "/planted\udc00", "empty, too long or unprintable"],
    ["v", "/planted\n", "empty, too long or unprintable"],
    ["v", "/planted\x1f", "empty, too long or unprintable"],
    ["v", "\x7f/planted", "empty, too long or unprintable"],
  ];
  for (const [value, sourceFile, says] of bad) {
    const { code, message } = assertThrows(() => checkStorable(value, sourceFile), ProxyError);
    assertEquals([code, message.includes("planted")], ["input.invalid", false]);
    assertStringIncludes(message, says);
  }
});

Deno.test("readSecret() gives back what writeSecret() was given, and no field that was not there", async () => {
  for (const record of [FEWEST, MOST]) {
    for (const value of ["sk-planted", "", "two\nlines\n", '{"json":"\\n"}']) {
      assertEquals(await readSecret(sealing, await written({ record, value })), { record, value });
    }
  }
});

Deno.test("writeSecret() has the value, and what would weaken it, nowhere in clear", async () => {
  const { key, value } = await written({ record: MOST, value: "sk-planted" });
  assertEquals(key, ["secret", "key"]);
  assertEquals(Object.keys(value).sort(), [
    "adoptedAt",
    "createdAt",
    "error",
    "host",
    "lease",
    "leaseUntil",
    "refreshedAt",
    "refreshingSince",
    "sealed",
    "type",
    "updatedAt",
    "version",
  ]);
  assertEquals(new TextDecoder("latin1").decode(value.sealed as Uint8Array).includes("planted"), false);
});

Deno.test("readSecret() opens a row only in its place, for its host and of its type, with its seal key", async () => {
  const row = await written({ record: MOST, value: "v" });
  const moved: readonly Row[] = [
    { ...row, key: ["secret", "other"] },
    { ...row, value: { ...row.value, host: "evil.test" } },
    { ...row, value: { ...row.value, type: "header" } },
    { ...row, value: { ...row.value, sealed: new Uint8Array(64) } },
  ];
  for (const each of moved) {
    const { message, hint } = await assertCode(readSecret(sealing, each), "seal.row-damaged");
    assertStringIncludes(message, `Cannot unseal secret ${String(each.key[1])}`);
    assertEquals(hint, "restore the state folder from a backup");
  }
  await assertCode(readSecret((await keysOf(2)).sealing, row), "seal.row-damaged");
  for (const field of ["host", "type", "version", "createdAt", "sealed"]) {
    const { [field]: _, ...value } = row.value;
    await assertCode(readSecret(sealing, { ...row, value }), "state.damaged");
  }
});

Deno.test("secretBinding() is what a row is sealed to, and a row to remove has no value", async () => {
  assertEquals(secretBinding(await written({ record: MOST, value: "v" })), [
    "secret",
    "key",
    "a.test",
    "bearer",
  ]);
  assertEquals(removeSecret("key"), { key: ["secret", "key"] });
});
