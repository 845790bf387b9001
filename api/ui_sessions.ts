/**
 * Who is at the web page: links that let one browser in once, and the sessions that they open. All of it is in memory, as
 * digests, bounded in number and in time, and ends with the process.
 *
 * A session is two secrets. The cookie alone proves nothing: browsers send the cookies of 127.0.0.1 to every port of it,
 * so whoever listens on another one may get to see it. The key is kept by the page, whose origin includes the port.
 *
 * Not here: cookies and headers (`ui_door.ts`), the API's own token (`guard.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import type { Clock } from "../core/clock.ts";

/** How long a link may wait for its browser. */
export const LINK_MS = 60_000;

/** The longest a session lives, used or not. */
export const SESSION_MS = 12 * 3_600_000;

/** Beyond these the oldest one ends: whoever may make links is let in, and must not be kept out by earlier ones. */
const MAX_LINKS = 8;
const MAX_SESSIONS = 32;

/** Wrong codes that are looked at in {@linkcode LINK_MS}. Nobody guesses 256 bits; this bounds what trying costs. */
const MAX_FAILURES = 30;

/** The secrets of a session that has just begun. */
export interface NewSession {
  readonly cookie: string;
  readonly key: string;
}

/**
 * What a session may change: `usual` adds rules and switches the mode, `manage` takes rules away, suspends clients and decides about what waits. It is decided
 * with the link, by whoever may call the API, and never grows.
 */
export type SessionRights = "usual" | "manage";

interface Link {
  readonly code: Uint8Array;
  readonly rights: SessionRights;
  readonly expiresAt: number;
}

interface Session {
  readonly cookie: Uint8Array;
  readonly key: Uint8Array;
  readonly rights: SessionRights;
  readonly expiresAt: number;
}

/** Links and sessions of one API. */
export class UiSessions {
  readonly #clock: Clock;
  #links: Link[] = [];
  #sessions: Session[] = [];
  #failures: number[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A code that lets one browser in, once. `expiresAt` is in epoch milliseconds. */
  createLink(
    rights: SessionRights = "usual",
  ): { readonly code: string; readonly expiresAt: number } {
    const code = randomSecret();
    const expiresAt = this.#clock.now() + LINK_MS;
    this.#links = [...this.#live(this.#links), { code: digest(code), rights, expiresAt }].slice(-MAX_LINKS);
    return { code, expiresAt };
  }

  /**
   * The session that a link's code opens; the code is spent then. `unknown` for every other code, `too-many` once there
   * have been many of those. A right code is let in even then, so that nobody can keep its owner out by guessing.
   */
  open(code: string): NewSession | "unknown" | "too-many" {
    const nowMs = this.#clock.now();
    const presented = digest(code);
    const links = this.#live(this.#links);
    const opening = links.find((link) => timingSafeEqual(link.code, presented));
    this.#links = links.filter((link) => link !== opening);
    if (!opening) {
      this.#failures = [...this.#failures.filter((atMs) => atMs > nowMs - LINK_MS), nowMs].slice(
        -MAX_FAILURES - 1,
      );
      return this.#failures.length > MAX_FAILURES ? "too-many" : "unknown";
    }
    const [cookie, key] = [randomSecret(), randomSecret()];
    const session = {
      cookie: digest(cookie),
      key: digest(key),
      rights: opening.rights,
      expiresAt: nowMs + SESSION_MS,
    };
    this.#sessions = [...this.#live(this.#sessions), session].slice(-MAX_SESSIONS);
    return { cookie, key };
  }

  /** True when both secrets are those of one live session. */
  isLive(session: NewSession): boolean {
    return this.rightsOf(session) !== undefined;
  }

  /** What the live session may change that has both secrets; undefined when there is none. */
  rightsOf({ cookie, key }: NewSession): SessionRights | undefined {
    return this.#find(cookie, key)?.rights;
  }

  /** Ends the session that has these secrets, if there is one. */
  close({ cookie, key }: NewSession): void {
    const closed = this.#find(cookie, key);
    this.#sessions = this.#sessions.filter((session) => session !== closed);
  }

  #find(cookie: string, key: string): Session | undefined {
    const [cookieDigest, keyDigest] = [digest(cookie), digest(key)];
    return this.#live(this.#sessions).find((session) =>
      timingSafeEqual(session.cookie, cookieDigest) && timingSafeEqual(session.key, keyDigest)
    );
  }

  #live<Each extends { readonly expiresAt: number }>(all: readonly Each[]): Each[] {
    const nowMs = this.#clock.now();
    return all.filter(({ expiresAt }) => expiresAt > nowMs);
  }
}

function randomSecret(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url");
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text, "utf8").digest();
}
