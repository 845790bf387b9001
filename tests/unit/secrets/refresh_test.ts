import { assertEquals } from "@std/assert";
import { Renewal } from "../../../secrets/refresh.ts";
import { RenewalFailure } from "../../../secrets/token_answer.ts";
import { FakeClock } from "../../support/fake_clock.ts";

const HOUR = 3_600_000;

Deno.test("Renewal.refused(): one token forces one renewal, however long it is refused", async () => {
  const clock = new FakeClock();
  let fetches = 0;
  using renewal = new Renewal({
    clock,
    random: () => 0,
    schedule: () => () => {}, // nothing is tried again by itself
    fetch: () => {
      fetches++;
      return Promise.reject(new RenewalFailure("the provider is busy"));
    },
    isRenewable: () => true,
    isEager: false,
    limitMs: 30_000,
    finalRetryMs: Infinity,
    reportBug: (error) => {
      throw error;
    },
  });
  renewal.adopt({ token: "t", expiresAtMs: clock.now() + 100 * HOUR });
  const token = renewal.usable();
  for (let i = 0; i < 5; i++) {
    assertEquals(await renewal.refused(token?.generation ?? ""), undefined);
    clock.advance(2 * HOUR);
  }
  assertEquals(fetches, 1);
});
