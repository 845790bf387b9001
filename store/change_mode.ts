/**
 * Switching the mode while the proxy runs. A switch is kept in memory only: a proxy that starts anew does what `up --mode`
 * says.
 *
 * @module
 */
import { MAX_DURATION_MS } from "../core/duration.ts";
import type { Mode, ModeSwitch } from "../policy/mode.ts";
import { requireClient } from "./change_clients.ts";
import { refuseInvalid } from "./refuse.ts";
import type { Writer } from "./writer.ts";

/** A switch that is to be made. */
export interface NewModeSwitch {
  /** All clients when undefined. */
  readonly client?: string | undefined;
  readonly mode: Mode;
  /** Whole milliseconds; until the next switch when undefined. */
  readonly ttlMs?: number | undefined;
}

/** See `State.switchMode`. */
export async function switchMode(
  writer: Writer,
  { client, mode, ttlMs }: NewModeSwitch,
): Promise<ModeSwitch> {
  if (client !== undefined) requireClient(writer.view, client, "switch the mode of");
  if (ttlMs !== undefined && !(Number.isSafeInteger(ttlMs) && ttlMs > 0 && ttlMs <= MAX_DURATION_MS)) {
    refuseInvalid(
      "Cannot switch the mode: its time is not between a millisecond and ten years",
      "leave it out",
    );
  }
  const made: ModeSwitch = {
    mode,
    ...(client === undefined ? {} : { client }),
    ...(ttlMs === undefined ? {} : { untilMs: writer.clock.now() + ttlMs }),
  };
  await writer.commit([], () => writer.view.switchMode(made));
  return made;
}
