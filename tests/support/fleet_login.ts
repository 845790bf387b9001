/**
 * Logins on hosts of a fleet: hosts in this process, and a host that is a process, stops at a point of a renewal and can be killed
 * there (`tests/e2e/fleet_login_child.ts`).
 */
import { assert, assertEquals } from "@std/assert";
import { systemClock } from "../../core/clock.ts";
import { adoptValue } from "../../secrets/adopt.ts";
import type { Credential } from "../../secrets/credential.ts";
import { Credentials } from "../../secrets/credentials.ts";
import type { State } from "../../store/state.ts";
import { type FleetStage, until } from "../unit/store/fleet_support.ts";
import { callAs, firstLogin, type RotatingProvider } from "./rotating_provider.ts";

/** How long a renewal may take, of which a host that is gone takes two seconds; a lease is half as long again. */
export const LIMIT_MS = 5_000;
const REQUEST = { host: "api.example.com", method: "GET", path: "/" };

/** How a host is not as usual. */
export interface LoginHostOptions {
  readonly limitMs?: number;
  /** The one login that it knows. */
  readonly login?: string;
  /** Its state goes on after it. */
  readonly keepsState?: boolean;
}

/** A host of the fleet in this process with its credentials. */
export class LoginHost implements AsyncDisposable {
  readonly state: State;
  readonly credentials: Credentials;
  readonly #login: string;
  readonly #keepsState: boolean;
  readonly #log: string[];

  constructor(
    { state, provider, log }: {
      readonly state: State;
      readonly provider: RotatingProvider;
      readonly log: string[];
    },
    { limitMs = LIMIT_MS, login = "login", keepsState = false }: LoginHostOptions = {},
  ) {
    this.#keepsState = keepsState;
    this.#log = log;
    this.#login = login;
    this.state = state;
    this.credentials = new Credentials({
      source: {
        secretValue: (name) => name === login ? state.secretValue(name) : undefined,
        listSecrets: () => state.listSecrets().filter(({ name }) => name === login),
        onChange: (listener) => state.onChange(listener),
        updateSecret: (name, update) => state.updateSecret(name, update),
      },
      call: callAs(state.fleet?.status.host ?? "", provider.url),
      clock: systemClock(),
      limitMs,
      random: () => 0,
      log: { warn: (line) => log.push(line), error: (line) => log.push(line) },
      reportBug: (error) => log.push(`bug ${error}`),
    });
  }

  async credential(): Promise<Credential> {
    const credential = await this.credentials.credential(this.#login, REQUEST);
    assert(credential);
    return credential;
  }

  async token(): Promise<string> {
    return (await this.credential()).headers[0]?.[1].replace("Bearer ", "") ?? "";
  }

  /** Waits until it has what the provider gave last. */
  async untilRenewed(provider: RotatingProvider): Promise<void> {
    await until("a token", async () => await this.token().catch(() => "") === provider.accessToken, 60_000);
  }

  /** The upstream has refused the token. */
  async rejected(): Promise<Credential | undefined> {
    return await this.credentials.rejected(await this.credential(), { status: 401 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.credentials[Symbol.asyncDispose]();
    if (!this.#keepsState) await this.state[Symbol.asyncDispose]();
    assertEquals(this.#log.filter((line) => line.startsWith("bug ")), []);
  }
}

/** Stores the login that a provider begins with. */
export async function putLogin(state: State, provider: RotatingProvider, name = "login"): Promise<void> {
  const adopted = await adoptValue({ type: "oauth-refresh", value: firstLogin(provider) }, Date.now());
  await state.putSecret({ name, host: REQUEST.host, cleartext: false, ...adopted }, { force: false });
}

/** What a child does. */
export interface ChildTask {
  readonly provider: string;
  /** Where it says so and waits, once; nowhere when empty. */
  readonly stopAt: string;
  readonly login?: string;
}

/** A host as a process. It does nothing before it has a task. */
export class LoginChild implements AsyncDisposable {
  readonly process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #read: Promise<void>;
  #text = "";

  constructor(stage: FleetStage, hostName: string, limitMs = LIMIT_MS) {
    const parts = {
      dir: `${stage.dir}/${hostName}`,
      sealKeyFile: `${stage.dir}/mk`,
      url: stage.server.url,
      caFile: stage.server.caFile,
      hostName,
      limitMs,
    };
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-check", "--config", new URL("../../deno.json", import.meta.url).pathname],
        ...[new URL("../e2e/fleet_login_child.ts", import.meta.url).pathname, JSON.stringify(parts)],
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.process = child;
    this.#input = child.stdin.getWriter();
    this.#read = (async () => {
      for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) this.#text += chunk;
    })();
  }

  /** Waits until it has said this. */
  async has(words: string): Promise<void> {
    await until(`the child says ${words}`, () => this.#text.includes(words), 60_000).catch((error) => {
      throw new Error(`the child has said:\n${this.#text}`, { cause: error });
    });
  }

  async begin(task: ChildTask): Promise<void> {
    await this.has("ready");
    await this.#write(JSON.stringify(task));
  }

  /** Has it go on from where it stopped. */
  async goOn(): Promise<void> {
    await this.#write("");
  }

  /** Resolves when it is gone. */
  async kill(): Promise<void> {
    try {
      this.process.kill("SIGKILL");
    } catch {
      // It is gone.
    }
    await this.process.status;
  }

  async #write(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#read;
    await this.#input.close().catch(() => {});
  }
}
