import { assertEquals, assertThrows } from "@std/assert";
import { isProxyError, ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { LocalCounts } from "../../../../proxy/records/counts.ts";
import { TokenGuesses } from "../../../../proxy/who/token_guesses.ts";
import { makeCountsMemory, makeSeeds, SharedCounts } from "../../../../workers/shared_counts.ts";

const LIMITS = { ...DEFAULT_LIMITS, maxWrongTokensPerSourcePerMinute: 3, maxWrongTokenSources: 4 };
const LONG = "a-token-of-20-chars!";
const TOKENS = new Map([["1234", "pin"], ["abcd", "other"], [LONG, "strong"]]);
const MINUTE = 60_000;

/** What a thread answers: a client's name, or the reason. */
function thread(guesses = new TokenGuesses(LIMITS, new LocalCounts())) {
  const asked: string[] = [];
  const ask = (token: string, source = "10.0.0.1", nowMs = 0): string => {
    const clientByToken = (shown: string) => {
      asked.push(shown);
      const name = TOKENS.get(shown);
      return name === undefined ? undefined : { name, version: "1" };
    };
    try {
      return guesses.clientOf({ token, source, nowMs }, { clientByToken }).name;
    } catch (error) {
      if (!(error instanceof ProxyError) || !isProxyError(error)) throw error;
      return `${error.reason}`;
    }
  };
  return {
    ask,
    asked,
    guess: (count: number, ...rest: [string?, number?]) => {
      for (let i = 0; i < count; i++) ask(`wrong${i}`, ...rest);
    },
  };
}

Deno.test("clientOf() looks at short tokens of a source until it has shown too many wrong ones", () => {
  const { ask, guess } = thread();
  guess(2);
  assertEquals(ask("x"), "auth-invalid"); // the third
  assertEquals([ask("y"), ask("1234"), ask("")], new Array(3).fill("auth-throttled"));
  assertEquals(ask("y", "10.0.0.1", MINUTE - 1), "auth-throttled");
  assertEquals(ask("1234", "10.0.0.1", MINUTE), "pin");
});

Deno.test("clientOf() takes a long token always, and says of a wrong one that it is throttled", () => {
  const { ask, guess } = thread();
  guess(10);
  assertEquals([ask(LONG), ask(LONG + "x")], ["strong", "auth-throttled"]);
});

Deno.test("clientOf() throttles a source and not its neighbours", async (t) => {
  const rows: readonly (readonly [string, guesser: string, asker: string, isThrottled: boolean])[] = [
    ["another IPv4", "10.0.0.1", "10.0.0.2", false],
    ["the same, on a socket of IPv6", "10.0.0.1", "::ffff:10.0.0.1", true],
    ["another, on a socket of IPv6", "::ffff:10.0.0.2", "::ffff:10.0.0.1", false],
    ["the same /64", "fd00:0:0:1::1", "fd00:0:0:1:ffff::2", true],
    ["the next /64", "fd00:0:0:1::1", "fd00:0:0:2::1", false],
    ["a zone", "fe80::1%eth0", "fe80::2%eth0", true],
  ];
  for (const [name, guesser, asker, isThrottled] of rows) {
    await t.step(name, () => {
      const { ask, guess } = thread();
      guess(10, guesser);
      assertEquals(ask("1234", asker), isThrottled ? "auth-throttled" : "pin");
    });
  }
});

Deno.test("clientOf() lets a throttled source go on as whom it was let in, and as nobody else", () => {
  const { ask, guess } = thread();
  assertEquals(ask("1234"), "pin");
  guess(10);
  assertEquals([ask("1234"), ask("abcd"), ask("1234", "10.0.0.2")], ["pin", "auth-throttled", "pin"]);
});

Deno.test("clientOf() counts across threads, and knows whom another let in", () => {
  const memory = makeCountsMemory(2);
  const seeds = makeSeeds();
  const [one, two] = [0, 1].map((plane) =>
    thread(new TokenGuesses(LIMITS, new SharedCounts(memory, seeds, plane)))
  );
  assertEquals(one?.ask("1234", "10.0.0.9"), "pin");
  one?.guess(2, "10.0.0.9");
  two?.guess(1, "10.0.0.9");
  for (const each of [one, two]) {
    assertEquals([each?.ask("abcd", "10.0.0.9"), each?.ask("1234", "10.0.0.9")], ["auth-throttled", "pin"]);
  }
});

Deno.test("clientOf() holds a bounded number of sources: one that cannot be counted gets no guess", () => {
  const counts = new LocalCounts();
  const { ask, guess } = thread(new TokenGuesses(LIMITS, counts));
  for (let i = 0; i < 4; i++) guess(1, `10.0.0.${i}`);
  assertEquals(ask("1234", "10.0.0.4"), "auth-throttled");
  assertEquals([ask("1234", "10.0.0.3"), ask(LONG, "10.0.0.4")], ["pin", "strong"]);
  assertEquals(ask("1234", "10.0.0.4", MINUTE), "pin");
  // Of what was let in the oldest is forgotten, and its count goes.
  for (let i = 0; i < 10; i++) ask("1234", `10.0.1.${i}`, MINUTE);
  const known = Array.from({ length: 10 }, (_, i) => counts.of(`known pin 10.0.1.${i}`));
  assertEquals(known, [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
});

Deno.test("clientOf() makes no look-up and counts nothing beyond one for a right long token", () => {
  const { ask, asked } = thread();
  ask(LONG);
  assertEquals(asked, [LONG]);
});

Deno.test("clientOf() takes a token of just the length that nobody guesses for a long one", () => {
  const { minUnguessableTokenChars } = LIMITS;
  const token = "x".repeat(minUnguessableTokenChars);
  const guesses = new TokenGuesses(LIMITS, new LocalCounts());
  const policy = {
    clientByToken: (shown: string) => shown === token ? { name: "edge", version: "1" } : undefined,
  };
  const ask = (token: string) => guesses.clientOf({ token, source: "10.0.0.1", nowMs: 0 }, policy).name;
  for (let i = 0; i < 5; i++) assertThrows(() => ask(`wrong${i}`), ProxyError);
  assertEquals(ask(token), "edge");
  assertThrows(() => ask(token.slice(1)), ProxyError);
});

Deno.test("clientOf() gives back all that it has counted: wrong tokens with the minute, who was let in once", () => {
  const counts = new LocalCounts();
  const { ask, guess } = thread(new TokenGuesses(LIMITS, counts));
  guess(2);
  ask("1234");
  ask("1234");
  assertEquals([counts.of("wrong 0 10.0.0.1"), counts.of("known pin 10.0.0.1")], [2, 1]);
  ask("1234", "10.0.0.1", MINUTE);
  assertEquals([counts.of("wrong 0 10.0.0.1"), counts.of("known pin 10.0.0.1")], [0, 1]);
});
