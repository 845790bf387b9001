/**
 * Which stage of a request a piece of code belongs to, by its file. What the runtime does belongs to whoever called it.
 *
 * @module
 */

/** Stage and what its paths begin with, from the root of the checkout. The first that fits counts. */
const STAGES: readonly (readonly [stage: string, ...paths: readonly string[]])[] = [
  ["open a tunnel", "proxy/tunnels/", "proxy/streams/client_hello.ts", "core/client_hello.ts"],
  [
    "accept and count",
    "core/accept_loop.ts",
    "core/newcomers.ts",
    "proxy/accept/admission.ts",
    "proxy/accept/arrivals.ts",
    "proxy/accept/connection.ts",
    "proxy/records/counts.ts",
  ],
  [
    "hop to TLS",
    "proxy/streams/splice.ts",
    "proxy/tls/",
    "proxy/streams/socket_stream.ts",
    "proxy/server.ts",
  ],
  ["read bytes", "proxy/streams/"],
  ["read head", "proxy/http1/head_reader.ts", "proxy/message/target.ts", "proxy/accept/"],
  ["write head", "proxy/http1/head_writer.ts"],
  ["request and watch of the client", "proxy/http1/request.ts"],
  ["audit", "proxy/records/", "policy/audit_record.ts", "store/audit/", "cli/"],
  [
    "decide",
    "policy/",
    "proxy/decide/",
    "proxy/serve.ts",
    "proxy/exchange.ts",
    "proxy/who/",
    "store/",
    "secrets/",
  ],
  ["inject and fields", "proxy/inject/", "proxy/message/"],
  ["upstream connection", "proxy/egress/", "proxy/forward/upstream_leg.ts", "proxy/http1/upstream.ts"],
  ["relay", "proxy/forward/relay.ts", "proxy/http1/"],
  ["drive", "proxy/forward/"],
  ["certificates", "ca/", "workers/"],
  ["deadlines", "core/deadlines.ts"],
  ["grants", "proxy/grants.ts"],
];

const ROOT = new URL("../", import.meta.url).href;
/** Code of the bench itself. */
const BENCH = `${ROOT}bench/`;

/** The stage of a file, or undefined for the runtime's and this bench's. */
export function stageOf(url: string): string | undefined {
  if (!url.startsWith(ROOT) || url.startsWith(BENCH)) return undefined;
  const path = url.slice(ROOT.length);
  return STAGES.find(([, ...begins]) => begins.some((begin) => path.startsWith(begin)))?.[0] ?? "other";
}

/** The stages in the order of the table. */
export const STAGE_NAMES: readonly string[] = [...new Set(STAGES.map(([stage]) => stage)), "other"];
