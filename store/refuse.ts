/**
 * The refusals that changes share.
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";

/** A name as it came in, short enough for a message. */
export function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 80));
}

/** Throws ProxyError `limit.reached` when `count` things of a kind are `max` already. */
export function checkRoom(what: string, count: number, max: number): void {
  if (count < max) return;
  throw new ProxyError("limit.reached", `Cannot add a ${what}: there are ${max} already`, {
    hint: "remove what is no longer used",
  });
}

/** Throws ProxyError `input.invalid`. */
export function refuseInvalid(message: string, hint: string): never {
  throw new ProxyError("input.invalid", message, { hint });
}

/** Throws ProxyError `input.conflict`. */
export function refuseConflict(message: string, hint: string): never {
  throw new ProxyError("input.conflict", message, { hint });
}

/** Throws ProxyError `input.not-found`. */
export function refuseNotFound(message: string): never {
  throw new ProxyError("input.not-found", message);
}
