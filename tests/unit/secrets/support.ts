/**
 * A state, its credentials and a provider, for tests of renewals.
 *
 * @module
 */
import { Credentials } from "../../../secrets/credentials.ts";
import { adoptValue } from "../../../secrets/adopt.ts";
import type { Credential } from "../../../secrets/credential.ts";
import type { CredentialRequest } from "../../../secrets/oauth_kind.ts";
import type { ProviderCall } from "../../../secrets/provider_call.ts";
import type { SecretRecord } from "../../../store/records.ts";
import { State } from "../../../store/state.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { testProviderCall } from "../../support/fake_provider.ts";

export interface RigOptions {
  /** A folder with a state; a new one unless given. */
  readonly dir?: string;
  readonly clock?: FakeClock;
  readonly call?: ProviderCall;
  readonly isStarted?: boolean;
  readonly limitMs?: number;
}

export class Rig implements AsyncDisposable {
  readonly dir: string;
  readonly clock: FakeClock;
  readonly state: State;
  readonly credentials: Credentials;
  /** Lines of the log. */
  readonly log: string[];
  readonly bugs: unknown[];
  readonly #keepsFolder: boolean;

  private constructor(
    parts: Pick<Rig, "dir" | "clock" | "state" | "credentials" | "log" | "bugs">,
    keepsFolder: boolean,
  ) {
    this.dir = parts.dir;
    this.clock = parts.clock;
    this.state = parts.state;
    this.credentials = parts.credentials;
    this.log = parts.log;
    this.bugs = parts.bugs;
    this.#keepsFolder = keepsFolder;
  }

  static async start(
    { dir, clock = new FakeClock(), call, isStarted = true, limitMs }: RigOptions = {},
  ): Promise<Rig> {
    const folder = dir ?? await Deno.makeTempDir({ prefix: "slicer-renewal-" });
    const state = await State.open({ dir: folder, clock });
    const log: string[] = [];
    const bugs: unknown[] = [];
    const credentials = new Credentials({
      source: state,
      call: call ?? await testProviderCall(),
      clock,
      log: { warn: (line) => log.push(line), error: (line) => log.push(line) },
      reportBug: (error) => bugs.push(error),
      random: () => 0,
      schedule: clock.schedule,
      ...(limitMs === undefined ? {} : { limitMs }),
    });
    if (isStarted) credentials.start();
    return new Rig({ dir: folder, clock, state, credentials, log, bugs }, dir !== undefined);
  }

  /** Adopts a value as the API does. */
  async adopt(
    type: string,
    value: unknown,
    { name = "login", host = "api.example.com", sourceFile, force = false }: {
      readonly name?: string;
      readonly host?: string;
      readonly sourceFile?: string;
      readonly force?: boolean;
    } = {},
  ): Promise<SecretRecord> {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const adopted = await adoptValue({ type, value: text, sourceFile }, this.clock.now());
    return await this.state.putSecret({ name, host, cleartext: false, ...adopted }, { force });
  }

  /** The credential, waited for. */
  async credential(request?: Partial<CredentialRequest>, name = "login"): Promise<Credential> {
    const host = this.state.getSecret(name)?.host ?? "";
    const credential = await this.credentials.credential(name, {
      host,
      method: "GET",
      path: "/",
      ...request,
    });
    if (!credential) throw new Error("there is no such secret");
    return credential;
  }

  /** The token that a request would carry now. */
  async bearer(request?: Partial<CredentialRequest>): Promise<string> {
    return tokenOf(await this.credential(request));
  }

  /** Waits for something that happens beside the test, on the real clock. */
  async until(isSo: () => boolean, what: string): Promise<void> {
    for (let i = 0; !isSo(); i++) {
      if (i > 400) throw new Error(`did not happen: ${what}; the log says ${this.log.join(" | ")}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async close(): Promise<void> {
    await this.credentials[Symbol.asyncDispose]();
    await this.state[Symbol.asyncDispose]();
    if (this.bugs.length > 0) throw new Error("a bug was reported", { cause: this.bugs[0] });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    if (!this.#keepsFolder) await Deno.remove(this.dir, { recursive: true });
  }
}

export function tokenOf({ headers }: Credential): string {
  return headers[0]?.[1].replace(/^Bearer /, "") ?? "";
}

/** A JWT with these claims, unsigned. */
export function jwt(claims: unknown): string {
  const part = (value: unknown) =>
    btoa(JSON.stringify(value)).replace(/=+$/, "").replace(/\+/g, "-").replace(/\//g, "_");
  return `${part({ alg: "none" })}.${part(claims)}.c2ln`;
}
