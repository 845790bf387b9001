/**
 * What the whole bench runs on: a temporary folder, two CAs, an nginx that serves the content, and the processes that are
 * started and ended with it. Everything is on 127.0.0.1.
 *
 * @module
 */
import { loadOrCreateAuthority } from "../ca/authority.ts";
import { mintLeaf } from "../ca/leaf.ts";
import { systemClock } from "../core/clock.ts";
import { CIPHER, HOST, UPSTREAM_H2_PORT, UPSTREAM_PORT } from "./settings.ts";

/** A process that was started. */
export interface Started {
  readonly pid: number;
  /** From the spawn to the first accepted connection. */
  readonly startMs: number;
  stop(): Promise<void>;
}

/** The bench's own things, all gone after disposal. */
export class Rig implements AsyncDisposable {
  readonly dir: string;
  readonly #running = new Set<Started>();
  #nextPort = 28_100;

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async open(): Promise<Rig> {
    const dir = await Deno.makeTempDir({ prefix: "slicer-bench-" });
    await Deno.chmod(dir, 0o755); // nginx and Squid read it as other users
    const rig = new Rig(dir);
    try {
      await rig.#makeCertificates();
      await rig.#startNginx();
      return rig;
    } catch (error) {
      await rig[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The CA of the upstream: proxies trust it. */
  get upstreamCa(): string {
    return `${this.dir}/upstream/ca.crt`;
  }

  /** The CA that every intercepting proxy signs with: clients trust it, and only it. */
  get interceptCa(): string {
    return `${this.dir}/intercept/ca.crt`;
  }

  /** A port that nobody listens on. */
  port(): number {
    for (;;) {
      const port = this.#nextPort++;
      try {
        Deno.listen({ hostname: "127.0.0.1", port }).close();
        return port;
      } catch {
        // Taken: the next one.
      }
    }
  }

  /** A new folder, for one proxy. */
  async folder(name: string): Promise<string> {
    const dir = await Deno.makeTempDir({ dir: this.dir, prefix: `${name}-` });
    await Deno.chmod(dir, 0o755);
    return dir;
  }

  /** Starts a process and waits until it accepts connections on `port`. Its words go to `dir`/words.log. */
  async start(
    command: readonly string[],
    { dir, port, stop = "SIGTERM" }: {
      readonly dir: string;
      readonly port: number;
      readonly stop?: Deno.Signal;
    },
  ): Promise<Started> {
    const startedAt = performance.now();
    // The shell only gives the process its output file, then becomes it.
    const child = new Deno.Command("sh", {
      args: ["-c", `exec "$@" >>"$0" 2>&1`, `${dir}/words.log`, ...command],
      cwd: dir,
      stdin: "null",
    }).spawn();
    let hasEnded = false;
    const ended = child.status.then(() => hasEnded = true);
    const started: Started = {
      pid: child.pid,
      startMs: 0,
      stop: async () => {
        this.#running.delete(started);
        if (!hasEnded) child.kill(stop);
        const late = setTimeout(() => hasEnded || child.kill("SIGKILL"), 15_000);
        await ended;
        clearTimeout(late);
      },
    };
    this.#running.add(started);
    while (!await accepts(port)) {
      if (hasEnded || performance.now() - startedAt > 20_000) {
        await started.stop();
        throw new Error(`${command[0]} does not start: ${await Deno.readTextFile(`${dir}/words.log`)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return Object.assign(started, { startMs: performance.now() - startedAt });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of [...this.#running].reverse()) await each.stop();
    await Deno.remove(this.dir, { recursive: true });
  }

  async #makeCertificates(): Promise<void> {
    const clock = systemClock();
    for (const name of ["upstream", "intercept"]) {
      const dir = `${this.dir}/${name}`;
      const { authority } = await loadOrCreateAuthority({ dir, hostgroup: `bench-${name}`, clock });
      const leaf = await mintLeaf(authority, [HOST, "127.0.0.1"], { nowMs: clock.now() });
      await Deno.writeTextFile(`${dir}/leaf.crt`, leaf.certPem);
      await Deno.writeTextFile(`${dir}/leaf.key`, leaf.keyPem);
      await Deno.writeTextFile(`${dir}/leaf.pem`, leaf.certPem + leaf.keyPem);
      const [key, crt] = [`${dir}/ca.key`, `${dir}/ca.crt`].map((file) => Deno.readTextFileSync(file));
      await Deno.writeTextFile(`${dir}/ca.pem`, `${key}\n${crt}`, { mode: 0o644 });
      await Deno.chmod(dir, 0o755);
    }
  }

  async #startNginx(): Promise<void> {
    const { dir } = this;
    await Deno.mkdir(`${dir}/www`);
    await Deno.writeTextFile(`${dir}/www/1k`, "x".repeat(1_024));
    await Deno.writeTextFile(`${dir}/www/events`, `data: ${"x".repeat(42)}\n\n`.repeat(20));
    const big = await Deno.create(`${dir}/www/1g`);
    await big.truncate(1_073_741_824); // sparse: no disk is read
    big.close();
    await Deno.writeTextFile(`${dir}/nginx.conf`, nginxConf(dir));
    await this.start(["nginx", "-p", dir, "-c", `${dir}/nginx.conf`], {
      dir,
      port: UPSTREAM_PORT,
      stop: "SIGTERM",
    });
  }
}

/** The upstream's settings, for the report as well. */
export function nginxConf(dir: string): string {
  const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((each) =>
    `${each}_temp_path ${dir}/t-${each};`
  );
  return `daemon off; pid ${dir}/nginx.pid; error_log ${dir}/nginx.err;
worker_processes 1; worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
  ${temp.join(" ")}
  access_log off; default_type application/octet-stream;
  keepalive_timeout 600s; keepalive_requests 1000000000;
  server {
    listen 127.0.0.1:${UPSTREAM_PORT} ssl backlog=4096; listen 127.0.0.1:${UPSTREAM_H2_PORT} ssl http2; root ${dir}/www;
    ssl_certificate ${dir}/upstream/leaf.crt; ssl_certificate_key ${dir}/upstream/leaf.key;
    ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites ${CIPHER}; ssl_session_tickets off;
    location /events { default_type text/event-stream; limit_rate_after 400; limit_rate 150; }
  }
}
`;
}

async function accepts(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}
