import { assert } from "@std/assert";
import { postgresMissing } from "../support/postgres.ts";
import { soakFleet } from "./fleet.ts";

/** Each thing that goes wrong once; `deno task fleet:soak` goes on for a minute. */
const SECONDS = 15;

Deno.test("hosts that come and go with their server decide nothing by a rule that is gone from all", async (t) => {
  const missing = await postgresMissing();
  if (missing !== undefined) {
    return void await t.step({ name: `skipped: ${missing}`, ignore: true, fn: () => {} });
  }
  const { everywhere, allowed, troubles } = await soakFleet(SECONDS);
  assert(everywhere > 0 && allowed > everywhere, "rules were used, and revoked on all hosts");
  assert(Object.keys(troubles).length > 1);
});
