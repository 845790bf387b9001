/** Attacks by connections: opened, reset, kept silent. Most need no token. */
import { gzipSync } from "node:zlib";
import { ask, dial, HEAD, pause, repeat, request } from "./lanes.ts";
import type { Attack, Target } from "./target.ts";

export const connectionAttacks: readonly Attack[] = [
  {
    name: "reset",
    about: "connects and resets, 400 a second, both proxy ports",
    run: (target) =>
      repeat(target, { lanes: 8, perSecond: 400 }, async (lane, nth) => {
        (await dial(nth % 2 === 0 ? target.httpPort : target.httpsPort, lane)).resetAndDestroy();
      }),
  },
  {
    name: "reset-api",
    about: "connects and resets, 400 a second, the API's TCP port",
    run: (target) =>
      repeat(target, { lanes: 8, perSecond: 400 }, async (lane) => {
        (await dial(target.apiPort, lane)).resetAndDestroy();
      }),
  },
  {
    name: "silent",
    about: "five addresses with 1,024 silent connections each, opened anew when closed",
    run: (target) => hold(target, { ports: [target.httpPort, target.httpsPort], count: 5 * 1_024 }),
  },
  {
    name: "known",
    about: "four clients with tokens hold all the connections they can get",
    run: ({ token, moreTokens, ...target }) =>
      hold(target, {
        ports: [target.httpPort],
        count: 5 * 1_024,
        everyMs: 60, // it is about places, not about the pace
        words: (slot) => request("nowhere.test", { token: [token, ...moreTokens][slot % 4] }),
      }),
  },
  {
    name: "bulk",
    about: "eight endless answers, taken as fast as they come",
    isLong: true, // it takes the CPUs of the innocent client, too
    run: async ({ httpPort, bulkHost, token, seconds }) => {
      const bytes = request(bulkHost, { token });
      const took = await Promise.all(Array.from({ length: 8 }, async (_, lane) => {
        const socket = await dial(httpPort, lane);
        socket.resume().write(bytes);
        await pause(seconds * 1_000);
        socket.destroy();
        return socket.bytesRead;
      }));
      const megabytes = took.reduce((sum, each) => sum + each, 0) / 1_048_576;
      return { tries: took.length, note: `${Math.round(megabytes / seconds)} MiB/s` };
    },
  },
  {
    name: "silent-api",
    about: "four addresses with 256 silent connections each to the API's TCP port",
    run: (target) => hold(target, { ports: [target.apiPort], count: 4 * 256 }),
  },
  {
    name: "half-hello",
    about: "begins TLS handshakes with the TLS port and leaves them there",
    run: (target) =>
      repeat(target, { lanes: 8, perSecond: 200 }, async (lane) => {
        const socket = await dial(target.httpsPort, lane);
        socket.write(new Uint8Array([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]));
        setTimeout(() => socket.destroy(), 3_000);
      }),
  },
  {
    name: "random-names",
    about: "asks for random names below a suffix that it may reach; every other one is never answered",
    run: ({ token, ...target }) =>
      repeat(target, { lanes: 100, perSecond: 500 }, async (lane, nth) => {
        const bytes = request(`n${nth}.wide.test`, { token });
        await ask(target.httpPort, lane, { bytes, enough: HEAD, ms: 2_000 });
      }),
  },
  {
    name: "ca-pipelined",
    about: "GET /ca.crt, 100 in a write, and one with a body that begins another request",
    run: (target) => {
      const many = "GET /ca.crt HTTP/1.1\r\nHost: proxy\r\n\r\n".repeat(100);
      const hidden = `GET /ca.crt HTTP/1.1\r\nHost: proxy\r\nContent-Length: 40\r\n\r\n${
        request("hidden.test", { path: "/in-a-body" })
      }`;
      return repeat(target, { lanes: 4, perSecond: 100 }, async (lane, nth) => {
        await ask(target.httpPort, lane, { bytes: nth % 10 === 9 ? hidden : many, ms: 200 });
      });
    },
  },
  {
    name: "pipelined",
    about: "2,000 requests in a write, each refused, as fast as they are answered",
    run: (target) => {
      const { httpPort, token } = target;
      const many = request("nowhere.test", { token }).repeat(2_000);
      return repeat(target, { lanes: 4, perSecond: 40 }, async (lane) => {
        await ask(httpPort, lane, { bytes: many, ms: 500 });
      });
    },
  },
  {
    name: "json-members",
    about:
      "bodies of 1 MiB of objects whose members no other has, compressed, under a rule that has to know what they say",
    isLong: true, // it takes all of a thread
    run: ({ httpPort, token, ...target }) => {
      const objects = Array.from(
        { length: 13_300 },
        (_, nth) => `{${Array.from({ length: 8 }, (_, i) => `"${(nth * 8 + i).toString(36)}k":1`).join()}}`,
      );
      const json = `{"x":[${objects.join()}]}`;
      const body = gzipSync(json).toString("latin1");
      const fields = [
        "Content-Type: application/json",
        "Content-Encoding: gzip",
        `Content-Length: ${body.length}`,
      ];
      const bytes = request("words.test", { method: "POST", token, fields, body });
      return repeat(target, { lanes: 8, perSecond: 80 }, async (lane) => {
        await ask(httpPort, lane, { bytes, enough: HEAD, ms: 2_000 });
      });
    },
  },
  {
    name: "garbage",
    about: "random bytes, SOCKS greetings and pieces of heads, to both ports",
    run: (target) =>
      repeat(target, { lanes: 8, perSecond: 400 }, async (lane, nth) => {
        const bytes = crypto.getRandomValues(new Uint8Array(200));
        bytes[0] = [0x16, 0x05, 0x04, 0x47][nth % 4] ?? 0;
        const port = nth % 3 === 0 ? target.httpsPort : target.httpPort;
        await ask(port, lane, { bytes, enough: HEAD, ms: 300 });
      }),
  },
];

/** Holds `count` connections from as many sources as 1,024 each need, silent but for what they say at once. */
async function hold(
  { seconds }: Pick<Target, "seconds">,
  { ports, count, everyMs = 10, words }: {
    readonly ports: readonly number[];
    readonly count: number;
    /** The pause after each twenty, and fifty times that after one that was closed. */
    readonly everyMs?: number;
    readonly words?: (slot: number) => string;
  },
) {
  const until = performance.now() + seconds * 1_000;
  let tries = 0;
  let open = 0;
  const keep = async (slot: number) => {
    while (performance.now() < until) {
      tries++;
      const socket = await dial(ports[slot % ports.length] ?? 0, Math.floor(slot * 5 / count)).catch(
        () => {},
      );
      if (socket) {
        open++;
        socket.resume();
        if (words) socket.write(words(slot));
        await new Promise<void>((resolve) => {
          socket.once("close", resolve);
          setTimeout(resolve, Math.max(0, until - performance.now()));
        });
        open--;
        socket.destroy();
      }
      await pause(50 * everyMs);
    }
  };
  const holders: Promise<void>[] = [];
  for (let slot = 0; slot < count && performance.now() < until; slot++) {
    holders.push(keep(slot));
    if (slot % 20 === 19) await pause(everyMs);
  }
  const most = open;
  await Promise.all(holders);
  return { tries, note: `${most} were open at once` };
}
