/** Real programs that speak HTTP/2: what they need here, how they are started, and where they are missing. */
import { runProgram } from "./programs.ts";
import type { Outcome } from "./programs.ts";

const FOLDER = new URL("../peers/http2/", import.meta.url);
const PYTHON = "/usr/bin/python3";

/** A server of `tests/peers/http2`, that has printed its port. */
export interface PeerServer extends AsyncDisposable {
  readonly port: number;
  /** What it has printed since. */
  readonly text: () => string;
}

/** A copy of the peers' folder with what they need beside them. */
export class PeerFolder implements AsyncDisposable {
  readonly dir: string;
  /** The packages of npm are there. */
  readonly hasPackages: boolean;

  private constructor(dir: string, hasPackages: boolean) {
    this.dir = dir;
    this.hasPackages = hasPackages;
  }

  /** Copies it, and installs what its lockfile says; without a registry there are no packages. */
  static async make(): Promise<PeerFolder> {
    const dir = await Deno.makeTempDir({ prefix: "slicer-peers-" });
    for await (const { name, isFile } of Deno.readDir(FOLDER)) {
      if (isFile) await Deno.copyFile(new URL(name, FOLDER), `${dir}/${name}`);
    }
    const { code } = await runProgram("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
      cwd: dir,
      ms: 120_000,
    }).catch(() => ({ code: 1 }));
    return new PeerFolder(dir, code === 0);
  }

  /** The command of a peer by its file's name, or undefined when this machine cannot run it. */
  async commandOf(file: string): Promise<readonly string[] | undefined> {
    const path = `${this.dir}/${file}`;
    if (file.endsWith(".py")) return (await this.#canImport(path)) ? [PYTHON, path] : undefined;
    if (file.endsWith(".mjs")) {
      const needsPackages = /from "@/.test(await Deno.readTextFile(path)) || file.startsWith("connect_");
      return !needsPackages || this.hasPackages ? ["node", path] : undefined;
    }
    const built = path.replace(/\.go$/, "");
    const { code } = await runProgram("go", ["build", "-o", built, path], {
      cwd: this.dir,
      env: { GO111MODULE: "off", GOFLAGS: "" },
      ms: 180_000,
    }).catch(() => ({ code: 1 }));
    return code === 0 ? [built] : undefined;
  }

  /** Runs a client to its end. */
  async run(command: readonly string[], env: Readonly<Record<string, string>>): Promise<Outcome> {
    const [program = "", ...args] = command;
    return await runProgram(program, args, { cwd: this.dir, env, ms: 60_000 });
  }

  /** Starts a server with the certificate in `up.crt` and `up.key`, and waits for its port. */
  async serve(command: readonly string[]): Promise<PeerServer> {
    const [program = "", ...args] = command;
    const child = new Deno.Command(program, {
      args: [...args, `${this.dir}/up.crt`, `${this.dir}/up.key`],
      cwd: this.dir,
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    let text = "";
    const hasPort = Promise.withResolvers<void>();
    const reading = (async () => {
      for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
        text += piece;
        if (text.includes("\n")) hasPort.resolve();
      }
      hasPort.resolve();
    })();
    await hasPort.promise;
    return {
      port: Number.parseInt(text),
      text: () => text,
      [Symbol.asyncDispose]: async () => {
        try {
          child.kill("SIGKILL");
        } catch {
          // It has ended by itself, which the clients have noticed.
        }
        await child.status;
        await reading;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.dir, { recursive: true });
  }

  async #canImport(path: string): Promise<boolean> {
    const names = [...(await Deno.readTextFile(path)).matchAll(/^import (h2|httpx|grpc)\b/gm)].map((
      [, name],
    ) => name === "httpx" ? "httpx, h2" : name);
    const { code } = await runProgram(PYTHON, ["-c", `import ${names.join(", ")}`]).catch(() => ({
      code: 1,
    }));
    return code === 0;
  }
}
