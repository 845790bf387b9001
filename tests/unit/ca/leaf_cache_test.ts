import { assertEquals, assertNotEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { createAuthority, loadOrCreateAuthority } from "../../../ca/authority.ts";
import { LeafCache } from "../../../ca/leaf_cache.ts";
import type { Authority } from "../../../ca/signer.ts";
import { countOf } from "../../../core/histogram.ts";
import { ProxyError } from "../../../core/errors.ts";
import { handshake, SetClock, temporaryFolder } from "./support.ts";

async function newAuthority(clock: SetClock): Promise<Authority> {
  await using folder = await temporaryFolder();
  return await createAuthority({ dir: folder.path, clock });
}

Deno.test("LeafCache.get() mints once for callers that ask at the same time", async () => {
  const clock = new SetClock();
  const authority = await newAuthority(clock);
  let minted = 0;
  const sign = authority.sign.bind(authority);
  authority.sign = (request) => {
    minted++;
    return sign(request);
  };
  const cache = new LeafCache(authority, { clock });
  const leaves = await Promise.all(
    Array.from({ length: 50 }, (_, i) => cache.get(i % 2 ? "a.example" : "b.example")),
  );
  assertEquals(minted, 2);
  assertEquals(new Set(leaves).size, 2);
  assertStrictEquals(await cache.get("b.example"), leaves[0]);
  await handshake(await cache.get("a.example"), "a.example", authority.certPem);
  assertEquals(minted, 2);
});

Deno.test("LeafCache.get() keeps as many leaves as it may, those used last", async () => {
  const clock = new SetClock();
  const cache = new LeafCache(await newAuthority(clock), { clock, maxLeaves: 3 });
  const [a, b, c] = [await cache.get("a"), await cache.get("b"), await cache.get("c")];
  assertEquals(cache.size, 3);
  assertStrictEquals(await cache.get("a"), a); // a is now younger than b
  await cache.get("d");
  assertEquals(cache.size, 3);
  assertStrictEquals(await cache.get("a"), a);
  assertStrictEquals(await cache.get("c"), c);
  assertNotEquals((await cache.get("b")).certPem, b.certPem);
  await Promise.all(Array.from({ length: 20 }, (_, i) => cache.get(`h${i}`)));
  assertEquals(cache.size, 3);
});

Deno.test("LeafCache refuses a bound below one", async () => {
  const clock = new SetClock();
  const authority = await newAuthority(clock);
  for (const maxLeaves of [0, -1, NaN]) {
    assertThrows(() => new LeafCache(authority, { clock, maxLeaves }), RangeError);
  }
});

Deno.test("LeafCache.get() replaces a leaf, and has() knows of none, when a quarter of its life is left", async () => {
  const clock = new SetClock();
  const cache = new LeafCache(await newAuthority(clock), { clock });
  const has = () => [cache.has("a.example"), cache.has("b.example")];
  assertEquals(has(), [false, false]);
  const first = await cache.get("a.example");
  clock.nowMs = first.renewAt - 1;
  assertStrictEquals(await cache.get("a.example"), first);
  assertEquals(has(), [true, false]);
  clock.nowMs = first.renewAt;
  assertEquals(has(), [false, false]);
  const second = await cache.get("a.example");
  assertNotEquals(second.certPem, first.certPem);
  assertEquals(second.notAfterMs > first.notAfterMs, true);
  assertStrictEquals(await cache.get("a.example"), second);
  assertEquals(cache.size, 1);
});

Deno.test("LeafCache.get() does not keep failures", async () => {
  const clock = new SetClock();
  const authority = await newAuthority(clock);
  const cache = new LeafCache(authority, { clock });
  clock.nowMs = authority.notAfterMs;
  for (let i = 0; i < 2; i++) {
    assertEquals((await assertRejects(() => cache.get("a.example"), ProxyError)).code, "ca.expired");
  }
  assertEquals((await assertRejects(() => cache.get("not a host"), ProxyError)).code, "input.invalid");
  assertEquals(cache.size, 0);
  clock.nowMs = authority.notAfterMs - 1_000;
  assertEquals((await cache.get("a.example")).notAfterMs, authority.notAfterMs);
});

Deno.test("LeafCache.setAuthority() signs with the new CA from the next call on", async () => {
  await using folder = await temporaryFolder();
  const clock = new SetClock();
  const { authority: old } = await loadOrCreateAuthority({ dir: folder.path, clock });
  const cache = new LeafCache(old, { clock });
  const kept = await cache.get("a.example");
  const next = await createAuthority({ dir: folder.path, clock, force: true });
  const minting = cache.get("b.example");
  cache.setAuthority(next);
  const fresh = cache.get("b.example");
  // What was asked for before comes from the old CA, and does not get into the cache.
  await handshake(await minting, "b.example", old.certPem);
  for (const host of ["a.example", "b.example"]) {
    await handshake(await cache.get(host), host, next.certPem);
  }
  assertStrictEquals(await cache.get("b.example"), await fresh);
  assertNotEquals((await cache.get("a.example")).certPem, kept.certPem);
  assertEquals(cache.size, 2);
});

Deno.test("LeafCache.figures() tells what was kept, found, made and not made", async () => {
  const clock = new SetClock();
  const authority = await newAuthority(clock);
  const cache = new LeafCache(authority, { clock });
  await Promise.all([cache.get("a.example"), cache.get("a.example")]); // both wait for one minting
  await cache.get("a.example");
  await cache.get("b.example");
  const sign = authority.sign.bind(authority);
  authority.sign = (request) => {
    clock.nowMs += 30;
    return sign(request);
  };
  await cache.get("c.example");
  authority.sign = () => Promise.reject(new Error("no entropy"));
  await assertRejects(() => cache.get("d.example"));
  const { mintDuration, ...figures } = cache.figures();
  assertEquals(figures, { entries: 3, hits: 1, misses: 5, mintFailures: 1 });
  assertEquals([countOf(mintDuration), mintDuration.sum], [3, 0.03]);
});
