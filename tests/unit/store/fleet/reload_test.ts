import { assertEquals } from "@std/assert";
import { bringTo } from "../../../store/fleet/reload.ts";
import { PolicyView } from "../../../store/view.ts";

Deno.test("bringTo() ends switches of the mode that the store has no more, and makes those that it has", () => {
  const view = new PolicyView();
  view.switchMode({ mode: "audit" });
  view.switchMode({ client: "ci-1", mode: "audit" });
  const copy = new PolicyView();
  for (const step of view.snapshot(1_000)) copy.apply(step);
  view.onStep = (step) => copy.apply(step);
  const fresh = new PolicyView();
  fresh.switchMode({ client: "ci-2", mode: "audit", untilMs: 2_000 });
  bringTo(view, fresh, 1_000);
  for (const each of [view, copy]) {
    assertEquals(["ci-1", "ci-2", undefined].map((client) => each.modeOf(client, 1_000)), [
      undefined,
      "audit",
      undefined,
    ]);
  }
});
