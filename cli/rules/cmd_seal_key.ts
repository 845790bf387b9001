/**
 * `seal-key rotate`: everything is sealed with another key.
 *
 * @module
 */
import { resolve } from "node:path";
import { apiClient } from "../api/client.ts";
import { cell } from "../api/values.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";

/** Has the running proxy do it. */
export async function rotateSealKey(args: CommandArgs, io: Io): Promise<void> {
  const brought = args.text("key-file");
  const api = await apiClient(args, io);
  // The proxy's working folder may be another.
  const body = brought === undefined ? {} : { key_file: resolve(brought) };
  const rotated = await api.object("POST", "seal-key/rotate", body);
  if (args.has("json")) return io.output.json(rotated);
  const { secrets, id, key_file, former_key_file } = rotated;
  const plural = secrets === 1 ? "" : "s";
  io.output.data(
    `sealed ${cell(secrets)} secret${plural} with the key ${cell(id)}, which is in ${cell(key_file)}`,
  );
  io.output.note(
    former_key_file === undefined
      ? `from now on the proxy starts with --seal-key-file ${
        cell(key_file)
      }; backups from before need the key from before`
      : `the key from before is in ${cell(former_key_file)}: backups from before need it; else remove it`,
  );
}
