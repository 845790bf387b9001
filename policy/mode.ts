/**
 * How the proxy treats what no rule allows, and who has been given another treatment for a while.
 *
 * Not here: the treatment itself (`proxy/tunnels/connect.ts`).
 *
 * @module
 */

/** `strict` refuses a tunnel to an unknown host at once; `audit` looks into it, logs what is asked for, and refuses that. */
export type Mode = "strict" | "audit";

/** Another mode than `up --mode` says, for one client or for all, until it ends or the proxy stops. */
export interface ModeSwitch {
  /** All clients when undefined. */
  readonly client?: string | undefined;
  readonly mode: Mode;
  /** Epoch milliseconds; until the next switch when undefined. */
  readonly untilMs?: number | undefined;
}

/** The switches in force. A client's own counts before the one for all, which takes the place of all before it. */
export class ModeSwitches {
  readonly #byClient = new Map<string, ModeSwitch>();
  #forAll: ModeSwitch | undefined;

  /** Makes a switch. */
  set(made: ModeSwitch): void {
    if (made.client !== undefined) {
      this.#byClient.set(made.client, made);
      return;
    }
    this.#byClient.clear();
    this.#forAll = made;
  }

  /** A client that is deleted takes its switch along: another of that name has none. */
  forget(client: string): void {
    this.#byClient.delete(client);
  }

  /** The mode that a switch gives a client, or somebody unknown; undefined when none is in force. */
  modeOf(client: string | undefined, nowMs: number): Mode | undefined {
    const own = client === undefined ? undefined : this.#byClient.get(client);
    return [own, this.#forAll].find((each) => each && isInForce(each, nowMs))?.mode;
  }

  /** All that are in force. */
  list(nowMs: number): readonly ModeSwitch[] {
    const all = [...(this.#forAll ? [this.#forAll] : []), ...this.#byClient.values()];
    return all.filter((each) => isInForce(each, nowMs));
  }
}

function isInForce({ untilMs }: ModeSwitch, nowMs: number): boolean {
  return untilMs === undefined || nowMs < untilMs;
}
