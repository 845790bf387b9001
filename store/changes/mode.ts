/**
 * Switching the mode while the proxy runs. A host that is alone keeps a switch in memory only: started anew it does what
 * `up --mode` says. In a fleet a switch is for all hosts, until it ends.
 *
 * @module
 */
import { MAX_DURATION_MS } from "../../core/duration.ts";
import type { Mode, ModeSwitch } from "../../policy/mode.ts";
import { requireClient } from "./clients.ts";
import type { Mutation } from "../engine.ts";
import { refuseInvalid } from "../refuse.ts";
import { removeMode, writeMode } from "../modes.ts";
import type { Writer } from "../writer.ts";

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
  await writer.commit(writer.isShared ? rowsOf(writer, made) : [], () => writer.view.switchMode(made));
  return made;
}

/** One for all takes the place of all before it. */
function rowsOf({ view, clock }: Writer, made: ModeSwitch): Mutation[] {
  const nowMs = clock.now();
  const former = made.client === undefined ? view.modeSwitches(nowMs) : [];
  const gone = former.flatMap(({ client }) => client === undefined ? [] : [removeMode(client)]);
  return [writeMode(made, nowMs), ...gone];
}
