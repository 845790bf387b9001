/**
 * A fleet's store as commands open it: once, without joining the fleet.
 *
 * @module
 */
import { PostgresDatabase } from "../../store/postgres/database.ts";
import { PROGRAM } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { readPassword, readStoreCa, type StorePlace } from "./place.ts";

/** A whole policy is written in one statement. */
const TIMEOUT_MS = 60_000;

/** @throws ProxyError `store.away`, `store.refused`, `state.newer`, `input.invalid` */
export async function openStore(place: StorePlace, { clock }: Pick<Io, "clock">): Promise<PostgresDatabase> {
  return await PostgresDatabase.open({
    address: place.address,
    fleet: place.fleet,
    password: () => readPassword(place),
    caPem: await readStoreCa(place),
    timeoutMs: TIMEOUT_MS,
    name: `${PROGRAM} store`,
    host: "",
    now: () => clock.now(),
  });
}
