/**
 * What the store's tests share: a folder that goes away, a clock that is set by hand, and short ways to make things.
 *
 * @module
 */
import { assertRejects } from "@std/assert";
import { type Clock, systemClock } from "../../../core/clock.ts";
import { type ErrorCode, ProxyError } from "../../../core/errors.ts";
import { parseRule, type RuleInput, type RuleSpec } from "../../../policy/rule.ts";
import type { SecretInput } from "../../../store/records.ts";
import { State } from "../../../store/state.ts";

/** A new folder, removed with all that is in it. `state` is a path in it that does not exist yet. */
export async function tempFolder(): Promise<
  AsyncDisposable & { readonly path: string; readonly state: string }
> {
  const path = await Deno.makeTempDir({ prefix: "slicer-store-" });
  return {
    path,
    state: `${path}/.slicer/proxy`,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** A clock that stands still, and may be set back, which the real one never is. */
export class HandClock implements Clock {
  nowMs = 1_800_000_000_000;
  now(): number {
    return this.nowMs;
  }
  monotonic(): number {
    return this.nowMs;
  }
}

export function openState(dir: string, clock: Clock = systemClock()): Promise<State> {
  return State.open({ dir, clock });
}

export function rule(host: string, more: Omit<RuleInput, "host"> = {}): RuleSpec {
  return parseRule({ host, ...more });
}

export function secret(name: string, more: Partial<SecretInput> = {}): SecretInput {
  return { name, host: "api.example.com", type: "bearer", value: "sk-planted", cleartext: false, ...more };
}

/** Asserts that `promise` rejects with a ProxyError of `code`, and returns it. */
export async function assertCode(promise: Promise<unknown>, code: ErrorCode): Promise<ProxyError> {
  const error = await assertRejects(() => promise, ProxyError);
  if (error.code !== code) throw new Error(`expected ${code}, got ${error.code}: ${error.message}`);
  return error;
}

/** Mode bits of a file or folder, such as 0o600. */
export async function modeOf(path: string): Promise<number> {
  return ((await Deno.lstat(path)).mode ?? 0) & 0o777;
}

/** How many rows of rules are on the disk, in a folder whose state is closed. */
export async function ruleRows(dir: string): Promise<number> {
  const kv = await Deno.openKv(`${dir}/state.kv`);
  try {
    return (await Array.fromAsync(kv.list({ prefix: ["rule"] }))).length;
  } finally {
    kv.close();
  }
}
