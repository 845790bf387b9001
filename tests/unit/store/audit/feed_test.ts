import { assert, assertEquals } from "@std/assert";
import { AuditFeed } from "../../../../store/audit/feed.ts";
import { makeRecord as record } from "../../../support/make_record.ts";

Deno.test("AuditFeed bounds what waits for a follower in characters too", async () => {
  const feed = new AuditFeed();
  const stop = new AbortController();
  const live = feed.follow({}, stop.signal);
  const long = (port: number) =>
    record(port, { path: "/".padEnd(32_768, "p"), query: "?".padEnd(32_768, "q") });
  for (let port = 1; port <= 200; port++) feed.publish([long(port)]);
  for (let port = 1; port <= 128; port++) assertEquals((await live.next()).value, long(port));
  assertEquals((await live.next()).value, { missed: 72 });
  feed.publish([long(201)]);
  assertEquals((await live.next()).value, long(201));
  stop.abort();
});

Deno.test("AuditFeed keeps nothing for a follower who is always one record behind", async () => {
  const feed = new AuditFeed();
  const stop = new AbortController();
  const live = feed.follow({}, stop.signal);
  feed.publish([record(0)]);
  const before = Deno.memoryUsage().heapUsed;
  for (let port = 1; port <= 200_000; port++) {
    feed.publish([record(port, { path: `/${port}`.padEnd(1_000, "p") })]);
    await live.next();
  }
  assert(Deno.memoryUsage().heapUsed - before < 100_000_000);
  assertEquals((await live.next()).value, record(200_000, { path: "/200000".padEnd(1_000, "p") }));
  stop.abort();
});
