/**
 * The place of a rule in its client's list, as a person types it.
 *
 * @module
 */
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";

/**
 * A place, from 1.
 *
 * @param what the flag or argument that it stands in
 * @throws ProxyError `cli.usage`
 */
export function placeOf(text: string | undefined, what: string): number {
  if (text !== undefined && /^[1-9][0-9]{0,5}$/.test(text)) return Number(text);
  throw usageError(
    `Cannot use ${what} with this value`,
    "it takes a rule's number, as slicer-proxy rules lists them",
  );
}

/** The place before which `--first` or `--before` puts a rule. @throws ProxyError `cli.usage` */
export function wantedPlace(args: CommandArgs): number | undefined {
  const text = args.text("before");
  if (args.has("first")) {
    if (text !== undefined) throw usageError("Cannot use --first and --before together");
    return 1;
  }
  if (text === undefined) return undefined;
  return placeOf(text, "--before");
}
