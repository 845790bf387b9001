import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { run } from "../../../../cli/run.ts";
import { timeAfter, untilAborted } from "../../../../cli/oauth/login.ts";
import { json, startOAuthProvider } from "../../../support/oauth_provider.ts";
import { fakeIo } from "../terminal/fake_io.ts";

Deno.test("timeAfter() gives whole seconds for a sane life", async (t) => {
  const rows: readonly [name: string, seconds: unknown, time: string | undefined][] = [
    ["now", 0, "2026-05-18T12:34:56Z"],
    ["six hours", 21_600, "2026-05-18T18:34:56Z"],
    ["parts of a second", 0.9, "2026-05-18T12:34:57Z"],
    ["ten years", 315_360_000, "2036-05-15T12:34:56Z"],
    ["more than ten years", 315_360_001, undefined],
    ["less than nothing", -1, undefined],
    ["no number", "21600", undefined],
    ["absent", undefined, undefined],
    ["not a number", NaN, undefined],
  ];
  const fromMs = Date.UTC(2026, 4, 18, 12, 34, 56, 789);
  for (const [name, seconds, time] of rows) {
    await t.step(name, () => assertEquals(timeAfter(fromMs, seconds), time));
  }
});

Deno.test("untilAborted() rejects with the signal's reason, before and during the work", async () => {
  const abort = new AbortController();
  assertEquals(await untilAborted(Promise.resolve(1), abort.signal), 1);
  const waiting = untilAborted(new Promise(() => {}), abort.signal);
  abort.abort(new RangeError("stop"));
  await assertRejects(() => waiting, RangeError, "stop");
  await assertRejects(() => untilAborted(Promise.resolve(1), abort.signal), RangeError, "stop");
});

Deno.test("oauth xai opens and asks only what belongs to the issuer", async (t) => {
  const rows: readonly [name: string, change: (origin: string) => Record<string, unknown>, words: string][] =
    [
      ["a token endpoint elsewhere", () => ({ token_endpoint: "https://evil.example/" }), "not its own"],
      ["a login page elsewhere", () => ({ authorization_endpoint: "https://evil.example/" }), "not its own"],
      [
        "a host that begins like it",
        () => ({ token_endpoint: "https://127.0.0.1.evil.example/" }),
        "not its own",
      ],
      [
        "a token endpoint without TLS",
        (origin) => ({ token_endpoint: origin.replace("https", "http") }),
        "not its own, or not https",
      ],
      ["no token endpoint", () => ({ token_endpoint: undefined }), "not its own"],
      [
        "another issuer's document",
        () => ({ issuer: "https://evil.example" }),
        '"issuer" property does not match',
      ],
      ["an issuer that is no URL", () => ({ issuer: "evil" }), "names itself by no URL"],
    ];
  for (const [name, change, words] of rows) {
    await t.step(name, async () => {
      await using provider = await startOAuthProvider({
        answers: {
          "/.well-known/openid-configuration": (_, { origin }) =>
            json(200, {
              issuer: origin,
              authorization_endpoint: `${origin}/oauth2/authorize`,
              token_endpoint: `${origin}/oauth2/token`,
              ...change(origin),
            }),
        },
      });
      const file = await Deno.makeTempFile();
      try {
        await Deno.writeTextFile(file, provider.caPem);
        const io = fakeIo();
        const argv = ["oauth", "xai", "--port", "0", "--issuer", provider.issuer, "--ca-file", file];
        assertEquals([await run(argv, io), io.stdout()], [1, ""]);
        assertStringIncludes(io.stderr(), "error: cannot log in to xAI: ");
        assertStringIncludes(io.stderr(), words);
        assertEquals(provider.calls.length, 1);
      } finally {
        await Deno.remove(file);
      }
    });
  }
});
