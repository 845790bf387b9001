/**
 * Places where adopted logins are renewed, which clients must not reach: a client there could use up a login, or make one.
 *
 * @module
 */
import { trimEndOf } from "../core/text.ts";
import { isSuspectPath, readingsOf } from "../policy/path.ts";
import { hostWithin } from "../policy/rule.ts";
import type { TokenEndpoint } from "./oauth_kind.ts";

/** Where a secret is renewed. A host that the secret itself is for is never closed as a whole. */
export interface ClosedEndpoints {
  readonly endpoints: readonly TokenEndpoint[];
  readonly secretHost: string;
}

/** Where a request wants to go. `host` is canonical; `path` is as sent, without query. */
export interface Place {
  readonly host: string;
  readonly path?: string;
}

interface Closed {
  /** The whole host. */
  readonly isHost: boolean;
  /** Lower case, without slashes at the end. */
  readonly path: string;
  /** What is below it too. */
  readonly isTree: boolean;
}

/** The endpoints of all secrets, by host. */
export class ClosedPlaces {
  readonly #byHost = new Map<string, Closed[]>();

  constructor(closed: readonly ClosedEndpoints[] = []) {
    for (const each of closed) this.#add(each);
  }

  #add({ endpoints, secretHost }: ClosedEndpoints): void {
    for (const { url, scope } of endpoints) {
      const { hostname, pathname } = new URL(url);
      const host = hostname.replace(/^\[|\]$/g, "");
      const isTree = pathname.endsWith("/*");
      const path = trim(isTree ? pathname.slice(0, -2) : pathname);
      const closed = { isHost: scope === "host" && !hostWithin(host, secretHost), path, isTree };
      this.#byHost.set(host, [...this.#byHost.get(host) ?? [], closed]);
    }
  }

  /** The hosts that are closed as a whole. */
  get hosts(): readonly string[] {
    return [...this.#byHost].filter(([, closed]) => closed.some(({ isHost }) => isHost)).map(([host]) =>
      host
    );
  }

  /** True for a closed place, on whatever port. Every reading of a path counts, and letter case does not: some servers ignore it. */
  has({ host, path }: Place): boolean {
    const closed = this.#byHost.get(host);
    if (!closed) return false;
    if (closed.some(({ isHost }) => isHost)) return true;
    if (path === undefined) return false;
    if (isSuspectPath(path)) return true; // to some server it could mean any place
    const readings = readingsOf(path).map((reading) => trim(reading.path));
    return closed.some((place) =>
      readings.some((reading) =>
        reading === place.path || (place.isTree && reading.startsWith(`${place.path}/`))
      )
    );
  }
}

function trim(path: string): string {
  return trimEndOf(path.toLowerCase(), "/");
}
