/** A host of a fleet as a process, with the real permissions. */
import type { PostgresServer } from "./postgres.ts";
import { type Daemon, Program } from "./program.ts";

/** No variable of other PostgreSQL programs has a say. */
const MISLEADING = {
  PGHOST: "127.0.0.9",
  PGUSER: "nobody",
  PGDATABASE: "nothing",
  PGOPTIONS: "-c x=y",
  PGAPPNAME: "psql",
};

/** How a host is started. */
export interface FleetHostOptions {
  readonly server: PostgresServer;
  /** As `--store-grace` takes it. */
  readonly grace: string;
  /** All hosts of a fleet have one. */
  readonly sealKeyFile: string;
  /** A program with its arguments that runs every command of it, such as `ip netns exec NAME`. */
  readonly through?: readonly string[];
}

/** A host with a folder of its own, whose last name is the host's. */
export class FleetHost {
  readonly program: Program;
  /** Those that every `up` of it has. */
  readonly flags: readonly string[];

  constructor(dir: string, { server, grace, sealKeyFile, through }: FleetHostOptions) {
    Deno.mkdirSync(dir);
    this.program = new Program(dir, MISLEADING, through);
    const name = dir.split("/").at(-1) ?? "";
    this.flags = [
      ...["--store", server.url, "--store-password-file", server.passwordFile, "--store-ca", server.caFile],
      ...["--host-name", name, "--store-grace", grace, "--seal-key-file", sealKeyFile],
      ...["--workers=2", "--allow-cidr=127.0.0.0/8,::1/128"],
    ];
  }

  up(more: readonly string[] = []): Promise<Daemon> {
    return this.program.up([...this.flags, ...more]);
  }
}

/** What a command said about the hosts that have its change. */
export function hostsOf({ stderr }: { readonly stderr: string }): string | undefined {
  return /^hosts: (.*)$/m.exec(stderr)?.[1];
}
