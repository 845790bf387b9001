/**
 * A host tells the store that it lives, and its policy counts for the grace from the moment before it told so. With that goes
 * what has to be done now and then: the note of the last contact, a look who else lives, and the sweep of rows that are over.
 *
 * Not here: what the store keeps of hosts (`hosts.ts`).
 *
 * @module
 */
import { callAt, type Clock } from "../../core/clock.ts";
import { ProxyError } from "../../core/errors.ts";
import type { LineLog } from "../../core/log.ts";
import type { PostgresDatabase } from "../postgres/database.ts";
import type { Writer } from "../writer.ts";
import type { CopyKeeper } from "./copy_keeper.ts";
import { type HostFigures, NO_FIGURES } from "./host_figures.ts";
import type { Hosts, OwnHost } from "./hosts.ts";

/** What a pulse works with. */
export interface PulseParts {
  readonly own: OwnHost;
  readonly hosts: Hosts;
  readonly keeper: CopyKeeper;
  readonly clock: Clock;
  readonly log: LineLog;
  /** The open database. @throws ProxyError `store.away` without one */
  readonly db: () => PostgresDatabase;
  /** This process has been entered anew: what the store was told before counts no more. */
  readonly onEnter: () => void;
}

/** How often rows that have expired are swept. */
const SWEEP_MS = 60_000;

/** See the module. */
export class Pulse {
  readonly #parts: PulseParts;
  #writer: Writer | undefined;
  /** The store knows of this process. */
  #hasEntered = false;
  #nextBeatAt = 0;
  #nextLookAt = 0;
  #nextSweepAt = 0;
  #nextContactAt = 0;
  #cancelTimer = () => {};
  /** Says how much this host does: a part of what `fleet` lists. */
  figures: () => HostFigures = () => NO_FIGURES;

  constructor(parts: PulseParts) {
    this.#parts = parts;
  }

  /** Enters the fleet. @throws what the server says */
  async enter(): Promise<void> {
    this.#parts.onEnter();
    await this.#parts.hosts.sayHello();
    this.#hasEntered = true;
  }

  /** The policy that it holds, until then at first, epoch milliseconds. */
  async begin(writer: Writer, heldUntilMs: number): Promise<void> {
    this.#writer = writer;
    await this.#hold(heldUntilMs);
  }

  /** The next beat is due at once. */
  hurry(): void {
    this.#nextBeatAt = 0;
  }

  /** What is kept of the last contact is written anew with the next beat, which is due at once. */
  renewContact(): void {
    this.#nextContactAt = 0;
    this.hurry();
  }

  /**
   * Tells the store that this host lives, when that is due.
   *
   * @returns what has to be called when this host has caught up: from then on its policy counts for another grace
   * @throws ProxyError `store.refused` when another process has this host's place; what the server says
   */
  async beat(): Promise<() => Promise<void>> {
    const { clock, own, log } = this.#parts;
    if (clock.monotonic() < this.#nextBeatAt) return () => Promise.resolve();
    const sentAt = clock.now(); // before it is sent: nobody may count on us for longer than we go on
    await this.#tell();
    return async () => {
      this.#nextBeatAt = clock.monotonic() + beatMsOf(own.graceMs);
      const wasLost = this.#writer?.view.isLost(() => clock.now());
      await this.#hold(sentAt + own.graceMs);
      if (wasLost) log.info("the store answers: the policy is in force again");
      await this.#lookAfter(sentAt);
    };
  }

  /** Denies no later than it would, and by no timer any more. */
  stop(): void {
    this.#cancelTimer();
  }

  async #tell(): Promise<void> {
    const { hosts } = this.#parts;
    if (!this.#hasEntered) return await this.enter(); // started from the local copy
    if (await hosts.beat(this.figures())) return;
    if (!await hosts.isTaken()) return await this.enter(); // silent for so long that it was forgotten
    await this.#hold(0); // nobody waits for us any more
    throw new ProxyError(
      "store.refused",
      "Cannot go on: another process uses a copy of this state folder in the fleet",
      {
        hint: "give each host a state folder of its own, and stop one of the two",
      },
    );
  }

  async #lookAfter(sentAt: number): Promise<void> {
    const { clock, own: { graceMs }, keeper, hosts, db } = this.#parts;
    const now = clock.monotonic();
    if (now >= this.#nextContactAt) {
      this.#nextContactAt = now + graceMs / 10;
      await keeper.contact(sentAt, graceMs);
    }
    if (now >= this.#nextLookAt) {
      this.#nextLookAt = now + Math.min(graceMs / 4, 15_000);
      await hosts.look();
    }
    if (now >= this.#nextSweepAt) {
      this.#nextSweepAt = now + SWEEP_MS * (0.5 + Math.random());
      await db().sweep();
    }
  }

  async #hold(untilMs: number): Promise<void> {
    const writer = this.#writer;
    if (!writer) throw new TypeError("Cannot hold a policy before there is one");
    const { clock, log } = this.#parts;
    this.#cancelTimer();
    await writer.hold(untilMs);
    if (writer.view.isLost(() => clock.now())) return;
    this.#cancelTimer = callAt(clock, untilMs, () => {
      log.error(
        "the store has been away for longer than --store-grace: everything is denied until it answers",
      );
      void writer.hold(0); // threads whose clocks are behind are told
    });
  }
}

/** Twenty in a grace, so that a few may be lost. */
function beatMsOf(graceMs: number): number {
  return Math.max(100, Math.min(graceMs / 20, 5_000));
}
