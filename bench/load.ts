/**
 * The load, made by existing tools: hey for many connections, curl for one. What is not answered with 200 is
 * counted apart, or fails the run.
 *
 * @module
 */
import { proxyUrl, type Route, urlOf } from "./peer.ts";
import { CIPHER } from "./settings.ts";

/** What hey saw. */
export interface HeyResult {
  /** Answers with 200. */
  readonly requests: number;
  /** Everything else: other answers, and no answer. */
  readonly failed: number;
  /** Answers with 200 per second, the time for opening the tunnels included. */
  readonly perSecond: number;
}

/**
 * Requests for 1 KiB, as many as go, over `connections` tunnels; with `newTunnels` each over one of its own.
 *
 * @throws Error when no answer is 200
 */
export async function hey(
  route: Route,
  { connections, seconds, newTunnels = false }: {
    readonly connections: number;
    readonly seconds: number;
    readonly newTunnels?: boolean;
  },
): Promise<HeyResult> {
  const proxy = proxyUrl(route);
  const { stdout } = await run("hey", [
    "-z",
    `${seconds}s`,
    "-c",
    String(connections),
    ...(newTunnels ? ["-disable-keepalive"] : []),
    ...(proxy === undefined ? [] : ["-x", proxy]),
    urlOf(route, "/1k"),
  ]);
  const counts = (pattern: RegExp) =>
    [...stdout.matchAll(pattern)].map(([, key, count]) => [key, Number(count)] as const);
  const statuses = counts(/^\s+\[(\d+)\]\t(\d+) responses/gm);
  const errors = counts(/^\s+\[(\d+)\]\t(?!\d+ responses)/gm).map(([count]) => Number(count));
  const requests = statuses.find(([status]) => status === "200")?.[1] ?? 0;
  if (requests === 0) throw new Error(`hey got no answer 200 over ${connections} connections:\n${stdout}`);
  const all = [...statuses.map(([, count]) => count), ...errors].reduce((sum, count) => sum + count, 0);
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]) * requests / all;
  return { requests, failed: all - requests, perSecond };
}

/** Times in milliseconds, one per request, of requests one after the other in one tunnel. */
export async function curlLatencies(route: Route, requests: number): Promise<number[]> {
  const { stdout } = await curl(
    route,
    ["-w", "%{http_code} %{num_connects} %{time_total}\\n"],
    `/1k?[1-${requests}]`,
  );
  const times: number[] = [];
  for (const line of stdout.trimEnd().split("\n")) {
    const [status, connects, seconds] = line.split(" ").map(Number);
    if (status !== 200) throw new Error(`curl was answered ${status}`);
    if (connects === 0) times.push(1_000 * (seconds ?? NaN)); // the first one has the handshakes in it
  }
  return times;
}

/** Seconds for 1 GiB. */
export async function curlDownload(route: Route): Promise<number> {
  const { stdout } = await curl(route, ["-w", "%{http_code} %{size_download} %{time_total}"], "/1g");
  const [status, bytes, seconds = NaN] = stdout.split(" ").map(Number);
  if (status !== 200 || bytes !== 1_073_741_824) throw new Error(`curl got ${bytes} bytes, status ${status}`);
  return seconds;
}

/** Milliseconds from the request, in a new tunnel, to the first event of a stream that goes on for seconds. */
export async function curlFirstEvent(route: Route): Promise<number> {
  const options = ["-N", "--trace-time", "--trace-ascii", "-", "--max-time"];
  for (const seconds of ["1", "12"]) { // the second time for whoever gives out the stream at its end
    const { stdout } = await curl(route, [...options, seconds], "/events");
    const lines = stdout.split("\n").filter((line) => /^[\d:.]{15} [<=]/.test(line));
    const sent = lines.findLastIndex((line) => line.includes("=> Send header"));
    const event = lines.findIndex((line, i) => i > sent && line.includes("<= Recv data"));
    if (event > sent) return timeOf(lines[event]) - timeOf(lines[sent]);
  }
  throw new Error("no event came");
}

/** The cipher between client and proxy, and proof that the route's CA signed what the client saw. */
export async function checkRoute(route: Route): Promise<string> {
  const { stdout, stderr } = await curl(route, ["-v", "-w", "%{http_code}"], "/1k");
  if (stdout !== "200") throw new Error(`the check request was answered ${stdout}`);
  return /SSL connection using (.*)/.exec(stderr)?.[1]?.trim() ?? "unknown";
}

async function curl(route: Route, options: readonly string[], path: string) {
  const proxy = proxyUrl(route);
  return await run("curl", [
    "-s",
    ...(proxy === undefined ? [] : ["-x", proxy]),
    "--cacert",
    route.caFile,
    "--tls13-ciphers",
    CIPHER,
    "-o",
    "/dev/null",
    ...options,
    urlOf(route, path),
  ]);
}

/** The time of day of a trace line, in milliseconds. */
function timeOf(line: string | undefined): number {
  const [hours = NaN, minutes = NaN, seconds = NaN] = (line ?? "").slice(0, 15).split(":").map(Number);
  return ((hours * 60 + minutes) * 60 + seconds) * 1_000;
}

async function run(command: string, args: readonly string[]) {
  const { code, stdout, stderr } = await new Deno.Command(command, { args: [...args] }).output();
  const [out, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  // 28 is curl's time-out, which ends an event stream.
  if (code !== 0 && code !== 28) throw new Error(`${command} ended with ${code}: ${errors}`);
  return { stdout: out ?? "", stderr: errors ?? "" };
}
