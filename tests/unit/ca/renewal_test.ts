import { assertEquals, assertNotEquals } from "@std/assert";
import {
  type AuthorityOptions,
  createAuthority,
  describeAuthority,
  loadOrCreateAuthority,
  RENEW_BEFORE_MS,
} from "../../../ca/authority.ts";
import { type KeptAuthority, startRenewal } from "../../../ca/renewal.ts";
import type { Authority } from "../../../ca/signer.ts";
import { isProxyError } from "../../../core/errors.ts";
import { SetClock, temporaryFolder } from "./support.ts";

function kept(options: AuthorityOptions): KeptAuthority {
  return { clock: options.clock, load: () => loadOrCreateAuthority(options) };
}

/** Awaits what an unreferenced timer brings: something else has to keep the process alive meanwhile. */
async function outcomeOf<T>(promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const alive = setTimeout(() => reject(new Error("nothing happened")), 10_000);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(alive);
  }
}

Deno.test("startRenewal() renews a CA that comes within seven days of its end", async () => {
  await using folder = await temporaryFolder();
  const options = { dir: folder.path, clock: new SetClock() };
  const authority = await createAuthority(options);
  options.clock.nowMs = authority.notAfterMs - RENEW_BEFORE_MS;
  const { promise, resolve, reject } = Promise.withResolvers<Authority>();
  const stop = startRenewal(authority, kept(options), { onRenewed: resolve, onError: reject });
  const renewed = await outcomeOf(promise);
  stop();
  assertNotEquals(renewed.certPem, authority.certPem);
  assertEquals((await describeAuthority(folder.path)).notAfter, new Date(renewed.notAfterMs).toISOString());
});

Deno.test("startRenewal() reports a failure and goes on", async () => {
  await using folder = await temporaryFolder();
  const options = { dir: folder.path, clock: new SetClock() };
  const authority = await createAuthority(options);
  await Deno.remove(`${folder.path}/ca.key`);
  options.clock.nowMs = authority.notAfterMs - RENEW_BEFORE_MS;
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const stop = startRenewal(authority, kept(options), { onRenewed: reject, onError: resolve });
  assertEquals(isProxyError(await outcomeOf(promise), "ca.invalid"), true);
  stop();
});

Deno.test("startRenewal() leaves a CA alone that has time, and leaks no timer", async () => {
  await using folder = await temporaryFolder();
  const options = { dir: folder.path, clock: new SetClock() };
  const authority = await createAuthority(options);
  const unexpected = () => {
    throw new Error("not due");
  };
  startRenewal(authority, kept(options), { onRenewed: unexpected, onError: unexpected })();
});
