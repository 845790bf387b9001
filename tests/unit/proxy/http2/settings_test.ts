import { assertEquals } from "@std/assert";
import {
  applySettings,
  formatSettings,
  INITIAL_PEER_SETTINGS,
  type PeerSettings,
  SETTING,
} from "../../../../proxy/http2/settings.ts";
import { faultOf } from "../../../support/http2_faults.ts";

Deno.test("settings have the numbers and the initial values of RFC 9113 §6.5.2 and RFC 8441 §3", () => {
  assertEquals({ ...SETTING }, {
    HEADER_TABLE_SIZE: 1,
    ENABLE_PUSH: 2,
    MAX_CONCURRENT_STREAMS: 3,
    INITIAL_WINDOW_SIZE: 4,
    MAX_FRAME_SIZE: 5,
    MAX_HEADER_LIST_SIZE: 6,
    ENABLE_CONNECT_PROTOCOL: 8,
  });
  assertEquals({ ...INITIAL_PEER_SETTINGS }, {
    maxConcurrentStreams: 100, // what it recommends at least; there is no initial limit
    initialWindowSize: 65_535,
    hasExtendedConnect: false,
  });
});

Deno.test("formatSettings() prints each pair in six bytes, in order", () => {
  assertEquals(formatSettings([]).length, 0);
  assertEquals([...formatSettings([[3, 0x0102_0304], [8, 1]])], [0, 3, 1, 2, 3, 4, 0, 8, 0, 0, 0, 1]);
});

/** What becomes of the initial settings under these, or the fault. `id` may have two bytes. */
function apply(pairs: readonly (readonly [id: number, value: number])[], isFromServer = true) {
  const peer: PeerSettings = { ...INITIAL_PEER_SETTINGS };
  const payload = formatSettings(pairs);
  for (const [i, [id]] of pairs.entries()) payload[i * 6] = id >> 8;
  const fault = faultOf(() => applySettings(peer, payload, isFromServer));
  return fault === "none" ? peer : fault;
}

Deno.test("applySettings() takes what a peer may set, and refuses values that a setting cannot have", async (t) => {
  const bad = "connection PROTOCOL_ERROR";
  const nothing: PeerSettings = {
    maxConcurrentStreams: 100,
    initialWindowSize: 65_535,
    hasExtendedConnect: false,
  };
  const rows: readonly (readonly [
    name: string,
    pairs: readonly (readonly [number, number])[],
    expected: Partial<PeerSettings> | string,
  ])[] = [
    ["nothing", [], {}],
    ["streams: none", [[3, 0]], { maxConcurrentStreams: 0 }],
    ["streams: as many as the number can say", [[3, 2 ** 32 - 1]], { maxConcurrentStreams: 2 ** 32 - 1 }],
    ["a window of nothing", [[4, 0]], { initialWindowSize: 0 }],
    ["the largest window", [[4, 2 ** 31 - 1]], { initialWindowSize: 2 ** 31 - 1 }],
    ["a window that is larger", [[4, 2 ** 31]], "connection FLOW_CONTROL_ERROR"],
    ["the smallest frames", [[5, 16_384]], {}],
    ["frames that are smaller", [[5, 16_383]], bad],
    ["the largest frames", [[5, 2 ** 24 - 1]], {}],
    ["frames that are larger", [[5, 2 ** 24]], bad],
    ["Extended CONNECT", [[8, 1]], { hasExtendedConnect: true }],
    ["no Extended CONNECT", [[8, 0]], {}],
    ["more than Extended CONNECT", [[8, 2]], bad],
    ["Extended CONNECT twice", [[8, 1], [8, 1]], { hasExtendedConnect: true }],
    ["Extended CONNECT, taken back", [[8, 1], [8, 0]], bad],
    ["the last of two counts", [[3, 5], [3, 7]], { maxConcurrentStreams: 7 }],
    ["settings of the encoder, which keeps no table", [[1, 0], [6, 1]], {}],
    ["unknown ones", [[7, 9], [9, 9], [0xff, 9]], {}],
    ["an unknown one whose second byte is that of a known one", [[0x104, 1], [0x103, 1], [0x108, 1]], {}],
  ];
  for (const [name, pairs, expected] of rows) {
    await t.step(name, () =>
      assertEquals(
        apply(pairs),
        typeof expected === "string" ? expected : { ...nothing, ...expected },
      ));
  }
  await t.step("push: a server must not enable it, a client may say so", () => {
    assertEquals(apply([[2, 0]], true), nothing);
    assertEquals(apply([[2, 1]], true), bad);
    assertEquals(apply([[2, 0]], false), nothing);
    assertEquals(apply([[2, 1]], false), nothing);
    assertEquals(apply([[2, 2]], false), bad);
  });
});
