import { assertEquals, assertRejects } from "@std/assert";
import { interleave, race, type Winner, Winners } from "../../../../../proxy/egress/connect/race.ts";
import { FakeClock } from "../../../../support/fake_clock.ts";

/** Addresses that answer, fail or stay silent as a test says, on a clock that it moves. */
class Network {
  readonly clock = new FakeClock(0);
  /** `+a` an attempt, `-a` given up, `xa` closed because it came too late. */
  readonly events: string[] = [];
  /** Places beside the first attempt. */
  extra = 100;
  readonly #answers = new Map<string, PromiseWithResolvers<string>>();
  readonly #cancel = new AbortController();

  race(addresses: readonly string[]): Promise<Winner<string>> {
    return race(addresses, {
      connect: (address, signal) => {
        this.events.push(`+${address}`);
        signal.addEventListener("abort", () => this.events.push(`-${address}`));
        const answer = Promise.withResolvers<string>();
        this.#answers.set(address, answer);
        return answer.promise;
      },
      discard: (connection) => this.events.push(`x${connection}`),
      tryExtra: () => {
        if (this.extra === 0) return undefined;
        this.extra--;
        return () => void this.extra++;
      },
      delayMs: 250,
      signal: this.#cancel.signal,
      schedule: (ms, callback) => this.clock.schedule(this.clock.now() + ms, callback),
    });
  }

  answer(address: string): void {
    this.#answers.get(address)?.resolve(address);
  }

  async fail(address: string): Promise<void> {
    this.#answers.get(address)?.reject(new Error(`${address} refuses`));
    await settle();
  }

  giveUp(reason: Error): void {
    this.#cancel.abort(reason);
  }

  take(): string {
    return this.events.splice(0).join(" ");
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
}

Deno.test("race() begins the next address after the delay, and not before", async () => {
  const network = new Network();
  const outcome = network.race(["a", "b", "c"]);
  assertEquals(network.take(), "+a");
  network.clock.advance(249);
  assertEquals(network.take(), "");
  network.clock.advance(1);
  assertEquals(network.take(), "+b");
  network.answer("b");
  assertEquals(await outcome, { address: "b", connection: "b" });
  assertEquals(network.take(), "-a -b"); // b is connected: giving it up changes nothing
  network.clock.advance(10_000);
  assertEquals(network.take(), "");
  assertEquals(network.extra, 100);
});

Deno.test("race() begins the next address at once when one fails, and starts the delay anew", async () => {
  const network = new Network();
  const outcome = network.race(["a", "b", "c"]);
  network.clock.advance(200);
  await network.fail("a");
  assertEquals(network.take(), "+a -a +b");
  network.clock.advance(249);
  assertEquals(network.take(), "");
  network.clock.advance(1);
  assertEquals(network.take(), "+c");
  network.answer("b"); // an earlier one may still win
  assertEquals((await outcome).address, "b");
});

Deno.test("race() tries every address and fails with all failures when none answers", async () => {
  const network = new Network();
  const outcome = assertRejects(() => network.race(["a", "b", "c"]), AggregateError);
  network.clock.advance(250);
  await network.fail("b");
  await network.fail("c");
  network.clock.advance(250);
  await network.fail("a");
  assertEquals((await outcome).errors.map(({ message }) => message), [
    "b refuses",
    "c refuses",
    "a refuses",
  ]);
  assertEquals(network.extra, 100);
});

Deno.test("race() closes a connection that comes too late", async () => {
  const network = new Network();
  const outcome = network.race(["a", "b"]);
  network.clock.advance(250);
  network.answer("a");
  network.answer("b");
  assertEquals((await outcome).address, "a");
  await settle();
  assertEquals(network.take().includes("xb"), true);
});

Deno.test("race() ends its oldest attempt for the next where it has no place for another", async () => {
  const network = new Network();
  network.extra = 1;
  const outcome = network.race(["a", "b", "c", "d"]);
  network.clock.advance(250);
  assertEquals(network.take(), "+a +b");
  network.clock.advance(250);
  assertEquals(network.take(), "-a +c");
  network.clock.advance(250);
  assertEquals(network.take(), "-b +d");
  network.answer("d");
  assertEquals((await outcome).address, "d");
  assertEquals(network.extra, 1);
});

Deno.test("race() takes nothing from the failure of an attempt that it has ended", async () => {
  const network = new Network();
  network.extra = 1;
  const outcome = network.race(["a", "b", "c", "d"]);
  network.clock.advance(250);
  network.clock.advance(250);
  assertEquals(network.take(), "+a +b -a +c");
  await network.fail("a");
  assertEquals([network.take(), network.extra], ["", 0]);
  network.answer("c");
  assertEquals((await outcome).address, "c");
  assertEquals(network.extra, 1);
});

Deno.test("race() has at most eight attempts under way, whatever places there are", async () => {
  const network = new Network();
  const names = Array.from({ length: 12 }, (_, at) => String(at));
  const outcome = network.race(names);
  for (let at = 1; at < 12; at++) network.clock.advance(250);
  const seen = network.take().split(" ");
  assertEquals(seen.filter((event) => event.startsWith("+")), names.map((name) => `+${name}`));
  assertEquals(seen.filter((event) => event.startsWith("-")), ["-0", "-1", "-2", "-3"]);
  network.answer("4");
  assertEquals((await outcome).address, "4");
});

Deno.test("race() gives up with its signal, and every attempt with it", async () => {
  const network = new Network();
  const outcome = assertRejects(() => network.race(["a", "b"]), Error, "enough");
  network.clock.advance(250);
  network.giveUp(new Error("enough"));
  await outcome;
  assertEquals(network.take(), "+a +b -a -b");
  assertEquals(network.extra, 100);
  assertEquals(network.clock.due, []);
});

Deno.test("race() closes a connection that comes as it is given up", async () => {
  const network = new Network();
  const outcome = assertRejects(() => network.race(["a", "b"]), Error, "enough");
  network.answer("a");
  network.giveUp(new Error("enough"));
  await outcome;
  await settle();
  assertEquals(network.take(), "+a xa -a");
});

Deno.test("race() begins nothing for an attempt that fails as it is given up", async () => {
  const network = new Network();
  const outcome = assertRejects(() => network.race(["a", "b"]), Error, "enough");
  const failed = network.fail("a");
  network.giveUp(new Error("enough"));
  await Promise.all([outcome, failed]);
  assertEquals([network.take(), network.extra], ["+a -a", 100]);
});

Deno.test("interleave() takes the families in turn, beginning with that of the first", async (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ["", ""],
    ["1.1.1.1 2.2.2.2", "1.1.1.1 2.2.2.2"],
    ["::1 ::2 ::3 1.1.1.1 2.2.2.2", "::1 1.1.1.1 ::2 2.2.2.2 ::3"],
    ["1.1.1.1 2.2.2.2 3.3.3.3 ::1", "1.1.1.1 ::1 2.2.2.2 3.3.3.3"],
    ["::1 1.1.1.1 ::1", "::1 1.1.1.1 ::1"],
  ];
  for (const [given, expected] of rows) {
    await t.step(given, () => assertEquals(interleave(given.split(" ")).join(" "), expected));
  }
});

Deno.test("Winners begins with what won when another was tried before it, for a while", () => {
  let now = 0;
  const winners = new Winners(() => now);
  const dead = ["dead", "good", "other"];
  winners.note("a:443", "dead", dead);
  assertEquals(winners.order("a:443", dead), dead); // the first one answered: nothing to remember
  winners.note("a:443", "good", dead);
  assertEquals(winners.order("a:443", dead), ["good", "dead", "other"]);
  assertEquals(winners.order("a:80", dead), dead);
  assertEquals(winners.order("a:443", ["new", "other"]), ["new", "other"]); // not an address of the name any more
  winners.note("a:443", "good", ["good", "dead", "other"]);
  now = 599_999;
  assertEquals(winners.order("a:443", dead)[0], "good");
  now = 600_000;
  assertEquals(winners.order("a:443", dead)[0], "dead");
});

Deno.test("Winners is bounded: of more than 1,024 places the one not asked about for longest is forgotten", () => {
  const winners = new Winners(() => 0);
  for (let at = 0; at < 1_025; at++) winners.note(`a:${at}`, "good", ["dead", "good"]);
  const first = (at: number) => winners.order(`a:${at}`, ["dead", "good"])[0];
  assertEquals([first(0), first(1), first(1_024)], ["dead", "good", "good"]);
});
