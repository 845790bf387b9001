import { assert, assertEquals } from "@std/assert";
import { ProxyError } from "../../../../../core/errors.ts";
import {
  FailedLookup,
  failedSystemLookup,
  isNameWithoutAddress,
  isUnknownName,
  lookupError,
  type LookupFailure,
} from "../../../../../proxy/egress/names/failed_lookup.ts";

type Row = readonly [code: string, reason: string, isUnknown: boolean];

const ROWS: Readonly<Record<LookupFailure, Row>> = {
  "nxdomain": ["upstream.dns", "dns", false],
  "no-data": ["upstream.dns", "dns", false],
  "missing": ["upstream.dns", "dns", false],
  "servfail": ["upstream.dns", "dns", true],
  "refused": ["upstream.dns", "dns", true],
  "timeout": ["upstream.timeout", "dns", true],
  "away": ["upstream.dns", "dns", true],
  "unanswered": ["upstream.dns", "dns", true],
  "garbage": ["upstream.dns", "dns", true],
  "too-large": ["upstream.dns", "dns", true],
  "busy": ["limit.reached", "quota", true],
};

Deno.test("lookupError() says what failed, and whether there may be such a name", () => {
  for (const [kind, [code, reason, isUnknown]] of Object.entries(ROWS)) {
    const failure = new FailedLookup(kind as LookupFailure);
    const error = lookupError("up.test", failure);
    assertEquals([error.code, error.reason, error.cause], [code, reason, failure], kind);
    assertEquals(error.message, `Cannot find up.test: ${failure.message}`);
    assertEquals([failure.isUnknown, isUnknownName(error)], [isUnknown, isUnknown], kind);
    assertEquals(isNameWithoutAddress(error), kind === "no-data", kind);
  }
});

Deno.test("lookupError() tells nothing of a server's own words", () => {
  const error = lookupError("up.test", new FailedLookup("away", "10.0.0.53 refused"));
  assertEquals(error.message, "Cannot find up.test: the name server cannot be reached");
});

Deno.test("other errors say nothing of a name", () => {
  for (const cause of [undefined, new Error("no")]) {
    const error = new ProxyError("upstream.dns", "Cannot find it", { cause });
    assertEquals([isUnknownName(error), isNameWithoutAddress(error)], [false, false]);
  }
});

Deno.test("failedSystemLookup() tells a name that is missing from a server that failed", () => {
  const coded = (code: string) => Object.assign(new Error("no"), { code });
  const rows: readonly (readonly [unknown, LookupFailure])[] = [
    [coded("ENOTFOUND"), "missing"],
    [coded("EAI_AGAIN"), "unanswered"],
    [new Error("no"), "missing"],
    ["no", "missing"],
    [{ code: "EAI_AGAIN" }, "missing"],
  ];
  for (const [error, kind] of rows) {
    const failure = failedSystemLookup(error);
    assertEquals([failure.kind, failure.cause], [kind, error]);
  }
  const known = new FailedLookup("servfail");
  assert(failedSystemLookup(known) === known);
});
