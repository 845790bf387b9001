/** Rotates the seal key of a state, and kills itself right before the step with a given number. A process for `reseal_test.ts`. */
import { systemClock } from "../../core/clock.ts";
import { State } from "../../store/state.ts";

const [dir = "", killAt = "0", brought] = Deno.args;
let step = 0;

/** Has each call count as a step, and the one whose turn it is not be made at all. */
function counted<This, Args extends unknown[], Result>(
  call: (this: This, ...args: Args) => Result,
): (this: This, ...args: Args) => Result {
  return function (...args) {
    if (++step === Number(killAt)) Deno.kill(Deno.pid, "SIGKILL");
    return call.apply(this, args);
  };
}

await using state = await State.open({ dir, clock: systemClock() });
Deno.AtomicOperation.prototype.commit = counted(Deno.AtomicOperation.prototype.commit);
Deno.rename = counted(Deno.rename);
Deno.link = counted(Deno.link);
Deno.remove = counted(Deno.remove);
await state.rotateSealKey(brought);
await Deno.stdout.write(new TextEncoder().encode(`steps=${step}\n`));
