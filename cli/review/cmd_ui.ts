/**
 * `ui`: the way into the web page.
 *
 * @module
 */
import { formatDuration } from "../../core/duration.ts";
import { ProxyError } from "../../core/errors.ts";
import { apiClient } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";

/** Prints the page's address with a one-time code, bare; it opens the page in whichever browser comes first. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const api = await apiClient(args, io);
  const { url, expires_at: expires } = await api.object(
    "POST",
    args.has("manage") ? "ui/links?manage=1" : "ui/links",
  );
  if (typeof url !== "string" || !URL.canParse(url)) {
    throw new ProxyError("api.refused", "Cannot show the web page's address: the API's answer has none");
  }
  const link = new URL(url);
  // Behind `ssh -L` the proxy does not know where it is seen; whoever called it over TCP does.
  if (api.origin !== undefined) io.output.data(`${api.origin}${link.pathname}${link.search}`);
  else io.output.data(link.href);
  const leftMs = typeof expires === "string" ? Date.parse(expires) - io.clock.now() : NaN;
  const howLong = Number.isNaN(leftMs) ? "" : `, within ${formatDuration(leftMs)}`;
  const rights = args.has("manage") ? "; its session may revoke, suspend and approve" : "";
  io.output.note(`open it in a browser: it works once${howLong}${rights}`);
}
