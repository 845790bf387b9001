import { assertEquals } from "@std/assert";
import { ProxyError } from "../../../../../core/errors.ts";
import { FailedDial } from "../../../../../proxy/egress/failed_dial.ts";
import { ProtocolMemory } from "../../../../../proxy/egress/pools/protocol_memory.ts";

const PLACE = { host: "up.test", port: 443 };

Deno.test("ProtocolMemory keeps a pick for each place and offer, for ten minutes", () => {
  let now = 0;
  const memory = new ProtocolMemory(() => now);
  memory.notePick(PLACE, ["h2", "http/1.1"], "h2");
  assertEquals(memory.pickOf(PLACE, ["h2", "http/1.1"]), "h2");
  assertEquals(memory.pickOf(PLACE, ["h2"]), undefined);
  assertEquals(memory.pickOf({ ...PLACE, port: 8443 }, ["h2", "http/1.1"]), undefined);
  now = 599_999;
  assertEquals(memory.pickOf(PLACE, ["h2", "http/1.1"]), "h2");
  now = 600_000;
  assertEquals(memory.pickOf(PLACE, ["h2", "http/1.1"]), undefined);
});

Deno.test("ProtocolMemory knows who takes Extended CONNECT, and forgets a place as a whole", () => {
  let now = 0;
  const memory = new ProtocolMemory(() => now);
  assertEquals(memory.hasExtendedConnect(PLACE), false);
  memory.noteExtendedConnect(PLACE, true);
  assertEquals(memory.hasExtendedConnect(PLACE), true);
  memory.noteExtendedConnect(PLACE, false);
  assertEquals(memory.hasExtendedConnect(PLACE), false);
  memory.noteExtendedConnect(PLACE, true);
  memory.notePick(PLACE, ["h2"], "h2");
  memory.notePick(PLACE, ["h2", "http/1.1"], "http/1.1");
  memory.forget(PLACE);
  assertEquals(memory.hasExtendedConnect(PLACE), false);
  assertEquals(memory.pickOf(PLACE, ["h2"]), undefined);
  assertEquals(memory.pickOf(PLACE, ["h2", "http/1.1"]), undefined);
  memory.noteExtendedConnect(PLACE, true);
  now = 600_000;
  assertEquals(memory.hasExtendedConnect(PLACE), false);
});

Deno.test("ProtocolMemory is bounded: clients may name places without end", () => {
  const memory = new ProtocolMemory(() => 0);
  for (let port = 1; port <= 4_097; port++) memory.notePick({ host: "up.test", port }, ["h2"], "h2");
  assertEquals(memory.pickOf({ host: "up.test", port: 1 }, ["h2"]), undefined);
  assertEquals(memory.pickOf({ host: "up.test", port: 2 }, ["h2"]), "h2");
});

Deno.test("FailedDial tells its error once, to the same host pattern, and soon", () => {
  const error = new ProxyError("upstream.refused", "Cannot connect to up.test:443: connection refused");
  const failed = new FailedDial(error, "*.test", 1_000);
  assertEquals(failed.take("up.test", 1_000), undefined); // it may reach other addresses
  assertEquals(failed.take("*.test", 6_000), error);
  assertEquals(failed.take("*.test", 6_000), undefined);
  assertEquals(new FailedDial(error, "*.test", 1_000).take("*.test", 6_001), undefined);
});
