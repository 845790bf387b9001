/**
 * Connections that have not said who they are. Anybody can open as many as there are, so that they have a share of all, and
 * at its limit they make room for each other: the one that ends is the oldest of whichever source has the most of them. Who
 * keeps many connections silent loses these; who says at once who it is was never in danger, at any rate of others.
 *
 * @module
 */
import { parseIp } from "./cidr.ts";
import { type Linked, LinkedSet } from "./linked_set.ts";
import { cutAt } from "./text.ts";

/** One connection. */
class Newcomer implements Linked<Newcomer> {
  readonly end: () => void;
  isLinked = false;
  previous: Newcomer | undefined = undefined;
  next: Newcomer | undefined = undefined;

  constructor(end: () => void) {
    this.end = end;
  }
}

/** The newcomers of one listener or of several. */
export class Newcomers {
  readonly #bySource = new Map<string, LinkedSet<Newcomer>>();
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** How many a source has. */
  countOf(source: string): number {
    return this.#bySource.get(source)?.size ?? 0;
  }

  /**
   * Adds one.
   *
   * @param end ends the connection and gives back what it had counted before it returns; called at most once
   * @returns a function that takes it out: it has said who it is, or is gone
   */
  add(source: string, end: () => void): () => void {
    const own = new Newcomer(end);
    const ofSource = this.#bySource.get(source) ?? new LinkedSet();
    ofSource.add(own);
    this.#bySource.set(source, ofSource);
    this.#size++;
    return () => this.#remove(source, own);
  }

  /**
   * Ends the oldest of `source`, or of the source that has the most.
   *
   * @returns false when there is none
   */
  endOldest(source = this.#largest()): boolean {
    const oldest = this.#bySource.get(source)?.oldest;
    if (!oldest) return false;
    this.#remove(source, oldest);
    oldest.end();
    return true;
  }

  #largest(): string {
    let [most, largest] = [0, ""];
    for (const [source, { size }] of this.#bySource) if (size > most) [most, largest] = [size, source];
    return largest;
  }

  #remove(source: string, own: Newcomer): void {
    const ofSource = this.#bySource.get(source);
    if (!ofSource?.delete(own)) return;
    this.#size--;
    if (ofSource.size === 0) this.#bySource.delete(source);
  }
}

/**
 * What a client address counts as: itself, or the /64 of an IPv6 address, all of which one machine may use (RFC 4291 §2.5.4).
 * An IPv4 address in IPv6 notation is that IPv4 address.
 */
export function sourceOf(hostname: string): string {
  const ip = parseIp(cutAt(hostname, "%"));
  if (ip?.length !== 16) return hostname;
  const isMapped = ip.subarray(0, 10).every((byte) => byte === 0) && ip[10] === 0xff && ip[11] === 0xff;
  if (isMapped) return ip.subarray(12).join(".");
  return `${[...ip.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}::/64`;
}
