/**
 * `agent install`, `uninstall`, `status`, and the two that run all the time: `run` and `supervise`.
 *
 * @module
 */
import { startHelper } from "../../agent/helper.ts";
import { install, mustBeRoot } from "../../agent/install.ts";
import { agentStatus } from "../../agent/status.ts";
import { supervise } from "../../agent/supervisor.ts";
import { undoAll } from "../../agent/uninstall.ts";
import { ProxyError } from "../../core/errors.ts";
import { logger, startLog } from "../../core/log.ts";
import { caChoice, namedProxy } from "./access.ts";
import type { CommandArgs } from "../command/command.ts";
import { lockDownProcess } from "../up/environment.ts";
import type { Io } from "../terminal/io.ts";
import { usageError } from "../command/parse.ts";

/** Installs the helper, or changes the one that is there. */
export async function installAgent(args: CommandArgs, io: Io): Promise<void> {
  mustBeRoot();
  const named = await namedProxy(args.optionalArgument("PROXY_IP"), args, io);
  if (!named) {
    throw usageError(
      `Cannot run "${args.spec.name}": PROXY_IP is missing, and HTTPS_PROXY names no proxy with a token`,
      "slicer-proxy agent install 192.168.222.1 --token-file FILE",
    );
  }
  const outcome = await install({
    ...named,
    ca: caChoice(args),
    dohUrl: parseDohUrl(args.text("doh-url")),
    self: selfCommand(),
    say: (line) => io.output.note(line),
  });
  io.output.note(
    outcome === "changed"
      ? "changed: the helper uses the new token from now on"
      : "installed: everything in this VM goes through the proxy; new logins get the variables too",
  );
}

/** Puts everything back. */
export async function uninstallAgent(_args: CommandArgs, io: Io): Promise<void> {
  mustBeRoot();
  const hadAny = await undoAll((line) => io.output.note(line));
  io.output.note(hadAny ? "uninstalled: everything is as it was" : "nothing to undo: no helper is installed");
}

/** Lists the pieces; exit code 1 when one is not as it should be. */
export async function showAgent(args: CommandArgs, io: Io): Promise<number> {
  mustBeRoot(); // the token and the journal are root's
  const pieces = await agentStatus();
  if (args.has("json")) io.output.json(pieces);
  else if (pieces.length === 0) io.output.note("no helper is installed in this VM");
  else {
    io.output.table(
      ["PIECE", "OK", "STATE"],
      pieces.map(({ piece, ok, state }) => [piece, ok ? "yes" : "NO", state]),
    );
  }
  return pieces.length > 0 && pieces.every(({ ok }) => ok) ? 0 : 1;
}

/** The helper, until a signal, or the end of standard input when it is supervised. */
export async function runAgent(args: CommandArgs, io: Io): Promise<void> {
  lockDownProcess(io.env);
  startLog((line) => io.output.note(line));
  const log = logger("agent");
  const stopAsked = Promise.race([signalled(), ...(args.has("supervised") ? [inputEnded(io)] : [])]);
  await using _helper = await startHelper({ log: (line) => log.info(line) });
  log.info("running");
  await stopAsked;
}

/** The supervisor, until a signal or a request on its socket. */
export async function superviseAgent(_args: CommandArgs, io: Io): Promise<void> {
  lockDownProcess(io.env);
  startLog((line) => io.output.note(line));
  const log = logger("agent");
  await supervise({
    command: [...selfCommand(), "agent", "run", "--supervised"],
    log: (line) => log.warn(line),
    stopAsked: signalled(),
  });
}

/** This program and its arguments up to the command. */
function selfCommand(): readonly string[] {
  if (Deno.build.standalone) return [Deno.execPath()];
  const main = new URL("../../main.ts", import.meta.url).pathname;
  return [Deno.execPath(), "run", "--quiet", "--no-prompt", "-A", main];
}

function parseDohUrl(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    // refused below
  }
  if (url?.protocol !== "https:" || url.username !== "" || url.hash !== "") {
    throw new ProxyError("input.invalid", "Cannot use --doh-url with this value: it is no https URL", {
      hint: "write --doh-url https://cloudflare-dns.com/dns-query",
    });
  }
  return url.href;
}

async function inputEnded(io: Io): Promise<void> {
  const buffer = new Uint8Array(64);
  while (await io.input.read(buffer) !== null);
}

function signalled(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, resolve);
  });
}
