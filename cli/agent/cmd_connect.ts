/**
 * `connect HOST:PORT`: standard input and output through the proxy, as SSH's `ProxyCommand` wants it.
 *
 * @module
 */
import { openLocalTunnel } from "../../agent/local_tunnel.ts";
import { openTunnel, type Refusal } from "../../agent/proxy_link.ts";
import { pump } from "../../agent/relay.ts";
import { ProxyError } from "../../core/errors.ts";
import { formatHostPort, parseAuthority } from "../../core/host_port.ts";
import { wayOut } from "./access.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { usageError } from "../command/parse.ts";

/** Connects, and ends when the other side does. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const target = parseAuthority(args.argument("HOST:PORT"));
  if (!target) {
    throw usageError("Cannot connect there: write HOST:PORT", 'ProxyCommand "slicer-proxy connect %h:%p"');
  }
  const way = await wayOut(args, io);
  const opened = "access" in way
    ? await openTunnel(way.access, target)
    : await openLocalTunnel(way.local, target);
  if ("refusal" in opened) throw refused(formatHostPort(target), opened.refusal);
  const { conn, first } = opened;
  const stdout = {
    write: (bytes: Uint8Array) => Deno.stdout.write(bytes),
    closeWrite: nothing,
    close: nothing,
  };
  const stdin = { read: (into: Uint8Array) => io.input.read(into), close: nothing };
  // What we send may end first (`ssh` never does that, `nc` may): the answer is still awaited. Not the other way round.
  pump(stdin, conn, undefined);
  await pump(conn, stdout, first);
}

function refused(where: string, { status, reason, text }: Refusal): ProxyError {
  const [first = "", ...rest] = text.split("\n");
  const command = rest.map((line) => line.trim()).find((line) => line.startsWith("slicer-proxy "));
  return new ProxyError(
    "agent.failed",
    `Cannot connect to ${where}: the proxy answers ${status} (${reason})${first === "" ? "" : `: ${first}`}`,
    command === undefined ? {} : { hint: `on the host: ${passedThrough(command)}` },
  );
}

/** The proxy suggests a rule that inspects, for it cannot know what a tunnel is for. This one is for bytes. */
function passedThrough(command: string): string {
  const isOther = / --(?:method|path|secret|passthrough)(?: |$)/.test(command);
  return isOther || !command.startsWith("slicer-proxy allow ") ? command : `${command} --passthrough`;
}

async function nothing(): Promise<void> {}
