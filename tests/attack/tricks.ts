/**
 * Attacks on the decision itself, under the attacker's rule for `GET,POST /pub/*` with a secret: whatever they send, the
 * upstream must never see a request line with DELETE or /admin, nor a field that overrides the method.
 */
import { ask, HEAD, repeat, request } from "./lanes.ts";
import type { Attack, Tally, Target } from "./target.ts";

/** Request lines that the upstream must not have seen. */
export const FORBIDDEN = /DELETE|\/admin|OVERRIDE/;

export const trickAttacks: readonly Attack[] = [
  {
    name: "body-of-a-get",
    about: "a second request begun in the body of a GET, completed by the next one (CL.0)",
    run: (target) =>
      trick(target, (host, token) => {
        const start = `DELETE /admin HTTP/1.1\r\nHost: ${host}\r\nX-Rest: `;
        const length = `Content-Length: ${start.length}`;
        const first = request(host, { path: "/pub/a", token, fields: [length], body: start });
        return first + request(host, { path: "/pub/b", token }).repeat(3);
      }),
  },
  {
    name: "underscores",
    about: "overrides of the method spelt with underscores and without",
    run: (target) =>
      trick(
        target,
        (host, token) =>
          [
            "X_HTTP_Method_Override",
            "X-HTTP-Method_Override",
            "x_http-method-override",
            "X-Http-Method-Override",
          ]
            .map((name) => request(host, { path: "/pub/a", token, fields: [`${name}: DELETE`] })).join(""),
      ),
  },
  {
    name: "dots-and-blanks",
    about: "paths that leave /pub/ for a server that drops blanks, zero-width characters or wide dots",
    run: (target) =>
      trick(target, (host, token) =>
        [
          "/pub/..%09/admin",
          "/pub/..%20/admin",
          "/pub/..%23/../admin",
          "/pub/%ef%bc%8e%ef%bc%8e/admin",
          "/pub/.%e2%80%8b./admin",
          "/pub/..;/admin",
          "/pub/%252e%252e/admin",
          "/pub/..%00/admin",
          "/pub//../../admin",
          "/pub/\\..\\..\\admin",
        ].map((path) => request(host, { path, token })).join("")),
  },
  {
    name: "framing",
    about: "two framings of one message, in all spellings",
    run: (target) =>
      trick(target, (host, token) => {
        const hidden = `DELETE /admin HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
        const framings = [
          ["Content-Length: 4", "Transfer-Encoding: chunked"],
          ["Content_Length: 0", `Content-Length: ${hidden.length}`],
          ["Transfer_Encoding: chunked"],
          ["Transfer-Encoding: chunked, identity"],
          ["Transfer-Encoding : chunked"],
          ["Content-Length: +5"],
          ["Content-Length: 5, 6"],
        ];
        const [fields = []] = framings.splice(Math.floor(Math.random() * framings.length), 1);
        return request(host, { method: "POST", path: "/pub/a", token, fields, body: `0\r\n\r\n${hidden}` });
      }),
  },
];

/** Sends what `make` gives in one write, on one connection each. @throws Error when even a fair request is refused */
async function trick(target: Target, make: (host: string, token: string) => string): Promise<Tally> {
  const { httpPort, clearHost, token } = target;
  const fair = await ask(httpPort, 0, {
    bytes: request(clearHost, { path: "/pub/fair", token }),
    enough: HEAD,
  });
  if (!fair.startsWith("HTTP/1.1 200")) throw new Error(`the rule admits nothing: ${fair}`);
  return await repeat(target, { lanes: 2, perSecond: 20 }, async (lane) => {
    await ask(httpPort, lane, { bytes: make(clearHost, token), ms: 1_000 });
  });
}
