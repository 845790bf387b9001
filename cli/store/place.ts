/**
 * Where a fleet's store is, from the flags.
 *
 * @module
 */
import { parseDuration } from "../../core/duration.ts";
import { ProxyError } from "../../core/errors.ts";
import { isName, parseName } from "../../core/names.ts";
import { parseStoreAddress, type StoreAddress } from "../../store/postgres/address.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";
import { readFileBytes } from "../terminal/input_bytes.ts";

/** A fleet in a store. */
export interface StorePlace {
  readonly address: StoreAddress;
  readonly passwordFile: string | undefined;
  readonly caFile: string | undefined;
  readonly fleet: string;
}

/** The same for a host that is a part of it. */
export interface FleetStore extends StorePlace {
  readonly graceMs: number;
  readonly hostName: string;
}

/** A password of 1,000 characters is longer than any. */
const MAX_PASSWORD_BYTES = 1_000;
const MAX_CA_BYTES = 1_048_576;
/** A host whose connection breaks has to find the store again within it. */
const MIN_GRACE_MS = 2_000;
/** Whoever revokes something has to wait so long for a host that cannot be reached. */
const MAX_GRACE_MS = 24 * 3_600_000;

/** The place that the flags name, or undefined without `--store`. @throws ProxyError `input.invalid`, `cli.usage` */
export function storePlaceOf(args: CommandArgs, url = args.text("store")): StorePlace | undefined {
  if (url !== undefined) {
    return {
      address: parseStoreAddress(url),
      passwordFile: args.text("store-password-file"),
      caFile: args.text("store-ca"),
      fleet: parseName("fleet", args.textOf("fleet")),
    };
  }
  const stray = ["store-password-file", "store-ca", "fleet"].find((flag) => args.has(flag));
  if (stray !== undefined) throw withoutStore(stray);
  return undefined;
}

/** The same for `up`. */
export function fleetStoreOf(args: CommandArgs): FleetStore | undefined {
  const place = storePlaceOf(args);
  if (place) return { ...place, graceMs: graceOf(args.textOf("store-grace")), hostName: hostNameOf(args) };
  const stray = ["store-grace", "host-name"].find((flag) => args.has(flag));
  if (stray !== undefined) throw withoutStore(stray);
  return undefined;
}

/** Reads the password anew at each call; empty without a file. */
export async function readPassword({ passwordFile }: StorePlace): Promise<string> {
  if (passwordFile === undefined) return "";
  const text = new TextDecoder().decode(await readFileBytes(passwordFile, MAX_PASSWORD_BYTES));
  return text.replace(/\r?\n$/, "");
}

/** The CA, when there is one of its own. */
export async function readStoreCa({ caFile }: StorePlace): Promise<string | undefined> {
  if (caFile === undefined) return undefined;
  return new TextDecoder().decode(await readFileBytes(caFile, MAX_CA_BYTES));
}

function graceOf(text: string): number {
  const graceMs = parseDuration(text);
  if (graceMs >= MIN_GRACE_MS && graceMs <= MAX_GRACE_MS) return graceMs;
  throw new ProxyError(
    "input.invalid",
    "Cannot use this --store-grace: it is not between 2 seconds and a day",
  );
}

function hostNameOf(args: CommandArgs): string {
  const given = args.text("host-name");
  if (given !== undefined) return parseName("host", given);
  const hostname = Deno.hostname();
  if (isName(hostname)) return hostname;
  throw usageError("Cannot use this host's hostname as its name in the fleet", "write --host-name NAME");
}

function withoutStore(flag: string): ProxyError {
  return usageError(`Cannot use --${flag} without --store`, "write --store postgres://USER@HOST/DATABASE");
}
