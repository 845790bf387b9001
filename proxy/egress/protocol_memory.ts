/**
 * Which protocol an upstream has picked of which offer, so that later tunnels need not ask again.
 *
 * @module
 */
import { formatHostPort, type HostPort } from "../../core/host_port.ts";
import { RecentMap } from "../../core/recent_map.ts";
import type { Alpn } from "./dialler.ts";

/** Clients may name places without end; one that was forgotten costs a dial that its first request needs anyway. */
const MAX_REMEMBERED = 4_096;
/** Servers change their settings now and then. */
const REMEMBERED_MS = 600_000;

/** See the module. */
export class ProtocolMemory {
  readonly #now: () => number;
  readonly #known = new RecentMap<string, { readonly protocol: Alpn; readonly untilMs: number }>(
    MAX_REMEMBERED,
  );

  /** @param now milliseconds on any steady clock */
  constructor(now: () => number) {
    this.#now = now;
  }

  get(place: HostPort, offer: readonly Alpn[]): Alpn | undefined {
    const known = this.#known.get(keyOf(place, offer));
    return known && known.untilMs > this.#now() ? known.protocol : undefined;
  }

  set(place: HostPort, offer: readonly Alpn[], protocol: Alpn): void {
    this.#known.set(keyOf(place, offer), { protocol, untilMs: this.#now() + REMEMBERED_MS });
  }

  /** An upstream that picks otherwise by now is asked again. */
  forget(place: HostPort, offer: readonly Alpn[]): void {
    this.#known.delete(keyOf(place, offer));
  }
}

function keyOf(place: HostPort, offer: readonly Alpn[]): string {
  return `${formatHostPort(place)} ${offer.join()}`;
}
