/**
 * This proxy, started as `deno task start` starts it (or as the compiled binary), with its REST API for clients and rules.
 *
 * @module
 */
import { ApiClient } from "../cli/api/client.ts";
import { parseApiUrl } from "../cli/api/url.ts";
import { type Peer, RESERVED_TOKENS } from "./peer.ts";
import type { Rig, Started } from "./rig.ts";
import { CREDENTIAL, HOST, TOKEN, UPSTREAM_PORT } from "./settings.ts";

const ROOT = new URL("../", import.meta.url);
/** This proxy as a peer, and what only it has. */
export interface SlicerPeer extends Peer {
  readonly port: number;
  readonly api: ApiClient;
}

/** The column of one worker, which the targets are about. */
export const OURS = "slicer-proxy";
/** What `up` runs when it is not told: a worker for each core. */
export const ALL_WORKERS = navigator.hardwareConcurrency;
/** The column of that. */
export const OURS_ON_ALL = `slicer-proxy, ${ALL_WORKERS} workers`;

/** Starts it and admits three clients with one rule each: looked into, with a credential, passed through. */
export async function startSlicer(
  rig: Rig,
  workers = 1,
  from: { readonly root?: URL; readonly v8Flags?: string } = {},
): Promise<SlicerPeer> {
  const dir = await rig.folder("slicer");
  const { started, port, command } = await startBare(rig, dir, [
    ...denoCommand(from),
    "up",
    `--workers=${workers}`,
  ]);
  const api = await openApi(`${dir}/.slicer/proxy/api.sock`);
  await addClient(api, "bench", TOKEN, [HOST]);
  await api.call("POST", "secrets", { name: "bench-key", host: HOST, type: "bearer", value: CREDENTIAL });
  await api.call("POST", "clients", { name: "injecting", token: RESERVED_TOKENS.injected });
  await api.call("POST", "allows", { client: "injecting", host: HOST, secret: "bench-key" });
  await api.call("POST", "clients", { name: "passing", token: RESERVED_TOKENS.passthrough });
  await api.call("POST", "allows", { client: "passing", host: HOST, passthrough: true });
  const route = { proxyPort: port, originPort: UPSTREAM_PORT };
  return {
    name: workers === 1 ? OURS : OURS_ON_ALL,
    port,
    api,
    inspected: { ...route, caFile: rig.interceptCa },
    injected: { ...route, caFile: rig.interceptCa, token: RESERVED_TOKENS.injected },
    passthrough: { ...route, caFile: rig.upstreamCa, token: RESERVED_TOKENS.passthrough },
    pids: [started.pid],
    startMs: started.startMs,
    settings: command.join(" ").replaceAll(ROOT.pathname, "") +
      "\nclient bench: allow --host localhost\nclient injecting: allow --host localhost --secret bench-key\n" +
      "client passing: allow --host localhost --passthrough\n",
    logFile: `${dir}/.slicer/proxy/audit.log`,
    stop: started.stop,
  };
}

/** Starts a program's `up` in a folder, without clients. */
export async function startBare(
  rig: Rig,
  dir: string,
  up: readonly string[],
): Promise<{ readonly started: Started; readonly port: number; readonly command: readonly string[] }> {
  const [port, tlsPort] = [rig.port(), rig.port()];
  const command = [
    ...up,
    `--http-port=${port}`,
    `--https-port=${tlsPort}`,
    `--ca-dir=${rig.dir}/intercept`,
    "--allow-cidr=127.0.0.0/8,::1/128",
    `--upstream-ca=${HOST}=${rig.upstreamCa}`,
  ];
  return { started: await rig.start(command, { dir, port }), port, command };
}

/** The proxy's ports accept a moment before its API does. */
export async function openApi(socket: string): Promise<ApiClient> {
  const api = new ApiClient(parseApiUrl(socket, undefined));
  for (let tries = 0;; tries++) {
    try {
      await api.call("GET", "status");
      return api;
    } catch (error) {
      if (tries > 500) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** A client and a rule for each host, in that order. */
export async function addClient(
  api: ApiClient,
  name: string,
  token: string | undefined,
  hosts: readonly string[],
): Promise<void> {
  await api.call("POST", "clients", { name, ...(token === undefined ? {} : { token }) });
  for (const host of hosts) await api.call("POST", "allows", { client: name, host });
}

/** What `deno task start` runs, with whole paths, and with more flags of V8 when they are given: `--a,--b`. */
export function denoCommand(
  { root = ROOT, v8Flags }: { readonly root?: URL; readonly v8Flags?: string | undefined } = {},
): readonly string[] {
  const config = JSON.parse(Deno.readTextFileSync(new URL("deno.json", root)));
  const [deno, run = "run", ...flags] = (config.tasks.start as string).split(" ");
  const entry = flags.pop();
  if (deno !== "deno" || entry !== "main.ts") throw new Error("the task start is another now");
  const inRoot = (file: string) => new URL(file, root).pathname;
  const more = (flag: string) =>
    v8Flags !== undefined && flag.startsWith("--v8-flags=") ? `${flag},${v8Flags}` : flag;
  return [Deno.execPath(), run, "--config", inRoot("deno.json"), ...flags.map(more), inRoot(entry)];
}
