/**
 * `store status`: what a fleet's store holds, as it says itself. It needs no running proxy and no seal key.
 *
 * @module
 */
import { describeCertificate } from "../../ca/description.ts";
import { formatDuration } from "../../core/duration.ts";
import { ProxyError } from "../../core/errors.ts";
import { escapeTerminal } from "../../core/escape.ts";
import type { Rotation } from "../../store/fleet/key_rotation.ts";
import { readSummary, type StoreSummary } from "../../store/fleet/summary.ts";
import { formatStoreHost } from "../../store/postgres/address.ts";
import { LAYOUT } from "../../store/postgres/schema.ts";
import type { CaRecord } from "../../store/cas.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";
import type { Io } from "../terminal/io.ts";
import { rotationLine } from "../rules/cmd_seal_key.ts";
import { openStore } from "./open_store.ts";
import { storePlaceOf } from "./place.ts";

/** Prints it for people, or with `--json`. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const place = storePlaceOf(args);
  if (!place) {
    throw usageError("Cannot look at a store without --store", "write --store postgres://USER@HOST/DATABASE");
  }
  await using db = await openStore(place, io);
  if (db.sealCheck === undefined) {
    throw new ProxyError(
      "input.not-found",
      `Cannot show the fleet ${place.fleet}: the store at ${
        formatStoreHost(db.link.host)
      } has none of that name`,
      { hint: "the first slicer-proxy up with this --store and --fleet makes it" },
    );
  }
  const summary = await readSummary(db, io.clock.now());
  const cas = await Promise.all(summary.cas.map(describeCa));
  const rotation = summary.rotation && rotationJson(summary.rotation);
  if (args.has("json")) {
    return io.output.json({
      host: formatStoreHost(db.link.host),
      fleet: place.fleet,
      layout: LAYOUT,
      seal_key_id: db.sealKeyId ?? "",
      ...(rotation === undefined ? {} : { seal_key_rotation: rotation }),
      sequence: summary.sequence,
      clients: summary.clients,
      rules: summary.rules,
      secrets: summary.secrets,
      cas: cas.map(({ hostgroup, fingerprint, notAfter }) => ({
        hostgroup,
        fingerprint,
        not_after: notAfter,
      })),
      bytes: summary.bytes,
      hosts: summary.hosts.map(({ name, version, since, lastSeen, applied, state }) => ({
        name,
        version,
        since: new Date(since).toISOString(),
        last_seen: new Date(lastSeen).toISOString(),
        sequence: applied,
        is_dead: state === "denies",
      })),
    });
  }
  const sealKey = `sealed with key ${db.sealKeyId}`;
  io.output.data([
    `fleet ${place.fleet} at ${formatStoreHost(db.link.host)}, layout ${LAYOUT}, ${sealKey}`,
    ...(rotation === undefined ? [] : [`seal     ${rotationLine(rotation)}`]),
    `policy   ${summary.clients} clients, ${summary.rules} rules, ${summary.secrets} secrets; change ${summary.sequence}`,
    `size     ${(summary.bytes / 1_000_000).toFixed(1)} MB, of all fleets`,
    ...cas.map(({ hostgroup, fingerprint, notAfter }) =>
      `CA       of host group ${escapeTerminal(hostgroup)}, until ${notAfter}, SHA-256 ${fingerprint}`
    ),
    ...hostLines(summary, io.clock.now()),
  ].join("\n"));
}

/** The store gives the certificate in clear; whoever can write to it may have put anything there. */
async function describeCa({ hostgroup, certPem }: CaRecord) {
  try {
    return { hostgroup, ...await describeCertificate(certPem, "the store") };
  } catch {
    return { hostgroup, fingerprint: "unknown", notAfter: "unknown" };
  }
}

function rotationJson({ phase, formerId, nextId, waitingFor, rows, resealed }: Rotation) {
  return { phase, former_id: formerId, next_id: nextId, waiting_for: waitingFor, rows, resealed };
}

function hostLines({ hosts, sequence }: StoreSummary, nowMs: number): string[] {
  if (hosts.length === 0) return ["hosts    none"];
  return hosts.map(({ name, version, lastSeen, applied, state }) => {
    const seconds = Math.max(1, Math.round((nowMs - lastSeen) / 1_000));
    const seen = seconds < 60 ? `${seconds}s` : formatDuration(seconds * 1_000);
    const behind = applied < sequence ? `, ${sequence - applied} changes behind` : "";
    return `host     ${escapeTerminal(name)} (${escapeTerminal(version)}), last seen ${seen} ago${behind}${
      state === "denies" ? ", denies" : ""
    }`;
  });
}
