import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { forOperator, unavailable, wasNeverSent, wordsOf } from "../../../secrets/login_errors.ts";
import { LoginSlots } from "../../../secrets/login_slots.ts";
import { Renewal } from "../../../secrets/refresh.ts";
import { RenewalFailure } from "../../../secrets/token_answer.ts";
import { FakeClock } from "../../support/fake_clock.ts";

/** Slots whose renewals fetch when they are told to, and count. */
function makeSlots() {
  const clock = new FakeClock(Date.UTC(2026, 0, 2));
  const fetches: string[] = [];
  const gates: ((token: string) => void)[] = [];
  const slots = new LoginSlots({
    name: "s",
    clock,
    makeRenewal: (key) =>
      new Renewal({
        clock,
        random: () => 0,
        schedule: clock.schedule,
        fetch: () => {
          fetches.push(key);
          return new Promise((resolve) => gates.push((token) => resolve({ token })));
        },
        isRenewable: () => true,
        isEager: true,
        limitMs: 30_000,
        finalRetryMs: Infinity,
        reportBug: (error) => {
          throw error;
        },
      }),
  });
  return { clock, slots, fetches, gates };
}

Deno.test("LoginSlots.get() is the same slot for a key, until 256 others were used since", () => {
  const { clock, slots } = makeSlots();
  const get = (key: string) => slots.get(key, `client of ${key}`);
  const first = get("k0");
  assertEquals([first.generation, first.prepared.size], ["", 0]);
  first.renewal.adopt({ token: "t", expiresAtMs: clock.now() + 3_600_000 });
  assertEquals(clock.due.length, 1);
  for (let i = 1; i < 256; i++) get(`k${i}`);
  assertStrictEquals(get("k0"), first); // used: the next one to go is another
  const second = get("k1");
  second.renewal.adopt({ token: "t", expiresAtMs: clock.now() + 3_600_000 });
  const third = get("k2");
  get("k256");
  assertStrictEquals(get("k2"), third);
  get("k257"); // k3 and k4 went for the two
  assertStrictEquals(get("k0"), first);
  assertStrictEquals(get("k1"), second);
  assertEquals(clock.due.length, 2);
  for (let i = 258; i < 258 + 256; i++) get(`k${i}`);
  assertEquals(clock.due, []); // what was forgotten is not renewed in the background
  assert(get("k0") !== first);
});

Deno.test("LoginSlots.get() gives a client 60 new slots within a minute, and the login itself always", () => {
  const { clock, slots } = makeSlots();
  for (let i = 0; i < 60; i++) slots.get(`k${i}`, "vm");
  const refused = () => {
    const error = assertThrows(() => slots.get("more", "vm"), ProxyError);
    assertEquals(error.code, "credential.unavailable");
    assertEquals(
      error.message,
      "Cannot use secret s: its token cannot be renewed now: too many repositories or hosts were asked for within a minute",
    );
  };
  refused();
  slots.get("k1", "vm");
  slots.get("", "vm");
  slots.get("more for another", "vm-2");
  for (let i = 0; i < 60; i++) slots.get(`n${i}`);
  assertThrows(() => slots.get("more for nobody"), ProxyError);
  clock.advance(59_999);
  refused();
  clock.advance(1);
  for (let i = 0; i < 60; i++) slots.get(`later${i}`, "vm");
  refused();
});

Deno.test("LoginSlots: every slot wakes, and an end waits for what is fetched and starts nothing", async () => {
  const { clock, slots, fetches, gates } = makeSlots();
  const [one, two] = [slots.get("1"), slots.get("2")];
  for (const { renewal } of [one, two]) renewal.adopt({ token: "t", expiresAtMs: clock.now() + 3_600_000 });
  assertEquals(clock.due.length, 2);
  const asked = one.renewal.refused(one.renewal.usable()?.generation ?? "");
  assertEquals(fetches, ["1"]);
  let isOver = false;
  const end = slots[Symbol.asyncDispose]().then(() => isOver = true);
  assertEquals(clock.due, []);
  await Promise.resolve();
  await Promise.resolve();
  assert(!isOver);
  gates[0]?.("new");
  await end;
  assertEquals((await asked)?.token, "new");
  clock.advance(4_000_000);
  assertEquals([fetches, clock.due], [["1"], []]);
});

Deno.test("LoginSlots.wake() has what is due renewed", () => {
  const { clock, slots } = makeSlots();
  let armed = 0;
  const schedule = clock.schedule;
  clock.schedule = (atMs, callback) => {
    armed++;
    return schedule(atMs, callback);
  };
  for (const key of ["1", "2"]) {
    slots.get(key).renewal.adopt({ token: "t", expiresAtMs: clock.now() + 3_600_000 });
  }
  const before = armed;
  slots.wake();
  assertEquals([armed - before, clock.due.length], [2, 2]);
});

Deno.test("unavailable() says whether the operator has to do something", () => {
  const passing = unavailable("s", new RenewalFailure("busy"));
  assertEquals([passing.code, passing.message, passing.hint], [
    "credential.unavailable",
    "Cannot use secret s: its token cannot be renewed now: busy",
    "it is tried again by itself; slicer-proxy secret list says more",
  ]);
  const final = unavailable("s", new RenewalFailure("over", { isFinal: true }));
  assertEquals([final.message, final.hint, (final.cause as Error).message], [
    "Cannot use secret s: over",
    "log in again on the host and store the login with slicer-proxy secret create --force",
    "over",
  ]);
  assertEquals(
    unavailable("s", new Error("planted")).message,
    "Cannot use secret s: its token cannot be renewed now: unexpected failure",
  );
});

Deno.test("wasNeverSent() knows the errors of before a request was written, and no other", () => {
  const before = [
    ...[
      "upstream.dns",
      "upstream.address-denied",
      "upstream.refused",
      "upstream.unreachable",
      "upstream.tls",
    ],
    "limit.reached",
  ] as const;
  for (const code of before) assertEquals(wasNeverSent(new ProxyError(code, "x")), true, code);
  for (
    const code of ["upstream.timeout", "upstream.closed", "upstream.malformed", "state.write-failed"] as const
  ) {
    assertEquals(wasNeverSent(new ProxyError(code, "x")), false, code);
  }
  assertEquals([wasNeverSent(new Error("upstream.dns")), wasNeverSent(undefined)], [false, false]);
});

Deno.test("what an error says at home is the operator's alone", () => {
  const error = new RenewalFailure("a file", { atHome: "/etc/key is gone" });
  assertEquals([forOperator(error), wordsOf(error)], ["/etc/key is gone", "a file"]);
  const known = new ProxyError("upstream.dns", "no such host");
  assertEquals([forOperator(known), wordsOf(known)], ["no such host", "no such host"]);
  assertEquals([forOperator(new Error("planted")), wordsOf("planted")], [
    "unexpected failure",
    "unexpected failure",
  ]);
});
