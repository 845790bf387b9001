import { assertEquals } from "@std/assert";
import { Budget } from "../../../../proxy/http2/budget.ts";

/** Runs `work` under a clock that it moves by hand, in milliseconds. */
function atTime(work: (set: (ms: number) => void) => void): void {
  const { now } = performance;
  let ms = 1_000;
  performance.now = () => ms;
  try {
    work((to) => ms = 1_000 + to);
  } finally {
    performance.now = now;
  }
}

/** How many can be taken now. */
function drain(budget: Budget): number {
  let count = 0;
  while (budget.take()) count++;
  return count;
}

Deno.test("Budget gives so many at once, and so many more every second, up to the most", () => {
  atTime((set) => {
    const budget = new Budget(10, 2);
    assertEquals([budget.isWhole, budget.isSpent, drain(budget), budget.isSpent], [true, false, 10, true]);
    set(499);
    assertEquals([budget.isSpent, budget.take()], [true, false]);
    set(500);
    assertEquals([budget.isSpent, drain(budget)], [false, 1]);
    set(1_500);
    assertEquals(drain(budget), 2);
    set(6_499);
    assertEquals(budget.isWhole, false);
    set(6_500);
    assertEquals(budget.isWhole, true);
    set(1_000_000);
    assertEquals(drain(budget), 20); // those that were there, and as many for the rest before
  });
});

Deno.test("Budget takes back what useful work gives, in parts, and never more than it had", () => {
  atTime(() => {
    const budget = new Budget(2, 0);
    budget.give(5);
    assertEquals(drain(budget), 2);
    budget.give(0.5);
    assertEquals([budget.isSpent, budget.take()], [true, false]);
    budget.give(0.5);
    assertEquals([budget.isSpent, drain(budget)], [false, 1]);
  });
});

Deno.test("Budget.charge() takes of what a rest has given: a rest does not pay for what comes behind it", () => {
  atTime((set) => {
    const budget = new Budget(10, 1);
    assertEquals(drain(budget), 10);
    set(100_000);
    budget.charge(4);
    assertEquals(drain(budget), 6);
  });
});

Deno.test("Budget.charge() makes a debt of as many as there may be at once, which is paid first", () => {
  atTime((set) => {
    const budget = new Budget(10, 1);
    budget.charge(4);
    assertEquals([budget.isWhole, drain(budget)], [false, 6]);
    budget.charge(1_000);
    set(10_999);
    assertEquals(budget.isSpent, true);
    set(11_000);
    assertEquals(drain(budget), 1);
    set(12_000);
    budget.charge(1); // what has come until then is there
    assertEquals(drain(budget), 0);
    set(13_000);
    assertEquals(drain(budget), 1);
  });
});
