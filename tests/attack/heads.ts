/** Attacks by heads: what costs the reader, the matcher, the explanation or the audit log more than it costs the sender. */
import { ask, HEAD, repeat, request } from "./lanes.ts";
import type { Attack, Target } from "./target.ts";

export const headAttacks: readonly Attack[] = [
  {
    name: "accept-spaces",
    about: "Accept with 60,000 spaces in a request that is refused",
    run: (target) => refused(target, { fields: [`Accept: a${" ".repeat(60_000)}b`] }),
  },
  {
    name: "accept-ranges",
    about: "Accept with 30,000 ranges in a request that is refused",
    run: (target) => refused(target, { fields: [`Accept: ${"a,".repeat(30_000)}b`] }),
  },
  {
    name: "connection-members",
    about: "Connection with 27,000 members",
    run: (target) => refused(target, { fields: [`Connection: ${"a,".repeat(27_000)}b`] }),
  },
  {
    name: "long-paths",
    about: "refused requests with paths of 60 KB, with a token",
    run: (target) => refused(target, { path: `/${"p".repeat(60_000)}` }, 1_000),
  },
  {
    name: "long-paths-anonymous",
    about: "refused requests with paths of 60 KB, without a token",
    run: (target) => refused(target, { path: `/${"p".repeat(60_000)}`, token: "" }, 1_000),
  },
  {
    name: "quotes",
    about: "paths of 60,000 quotes",
    run: (target) => refused(target, { path: `/${'"'.repeat(60_000)}` }),
  },
  {
    name: "slashes",
    about: "60,000 slashes and an x, to the host where a login is renewed",
    run: (target) => refused(target, { path: `${"/".repeat(60_000)}x`, host: target.loginHost }),
  },
  {
    name: "dots",
    about: "paths of dot segments, encoded dots and doubly encoded slashes",
    run: (target) =>
      refused(target, { path: `/pub/${"%2e%2e%2f.%252e/..;".repeat(3_000)}`, host: target.clearHost }),
  },
  {
    name: "hosts",
    about: "each request names another host, with a token",
    run: (target) => refused(target, { host: (nth) => `h${nth}.example.test` }, 1_000),
  },
  {
    name: "connects",
    about: "CONNECT to hosts without a rule, as fast as they are refused",
    run: (target) =>
      repeat(target, { lanes: 8, perSecond: 1_000 }, async (lane, nth) => {
        const bytes = `CONNECT h${nth}.example.test:443 HTTP/1.1\r\nHost: h${nth}.example.test:443\r\n` +
          `Proxy-Authorization: Basic ${btoa(`proxy:${target.token}`)}\r\n\r\n`;
        await ask(target.httpPort, lane, { bytes, enough: HEAD });
      }),
  },
  {
    name: "many-fields",
    about: "heads of 1,000 short fields",
    run: (target) => refused(target, { fields: Array.from({ length: 1_000 }, (_, i) => `x-${i}: ${i}`) }),
  },
];

/** Requests that are refused, on both ports' reader, from eight addresses. */
function refused(
  target: Target,
  { path = "/", fields = [], token = target.token, host = "denied.example.test" }: {
    readonly path?: string;
    readonly fields?: readonly string[];
    readonly token?: string;
    readonly host?: string | ((nth: number) => string);
  },
  perSecond = 200,
) {
  return repeat(target, { lanes: 8, perSecond }, async (lane, nth) => {
    const bytes = request(typeof host === "string" ? host : host(nth), { path, fields, token });
    await ask(target.httpPort, lane, { bytes, enough: HEAD });
  });
}
