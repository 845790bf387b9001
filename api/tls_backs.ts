/**
 * The TLS listeners on loopback behind the API's front (`front.ts`). One of them takes what is new. A listener of Deno
 * keeps the certificate that it began with, and leaves live for days where a proxy runs for months: so another listener
 * with another certificate takes its place in time, and what is open on the old one goes on.
 *
 * Not here: TCP, and who may call.
 *
 * @module
 */
import { messageOf } from "../core/errors.ts";
import type { ApiLog } from "./control.ts";

/** A certificate for the API. */
export interface ApiTls {
  /** PEM, leaf first. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** Epoch milliseconds from which on `renew` is asked for another; never when it is left out. */
  readonly renewAt?: number;
  readonly renew?: () => Promise<ApiTls>;
}

/** A listener that serves. Disposing cuts what is open on it. */
export interface Back extends AsyncDisposable {
  readonly port: number;
}

/** How long a certificate that cannot be renewed is used before that is tried again. */
const RETRY_MS = 60_000;

/** See the file's head. Disposing closes all of them. */
export class TlsBacks implements AsyncDisposable {
  readonly #options: BacksOptions;
  #tls: ApiTls;
  #current: Back;
  /** The one before. Nothing that is open lives as long as a certificate; still it is not cut before the next renewal. */
  #previous: Back | undefined;
  #renewing: Promise<void> | undefined;

  /** Opens the first. Throws what `serve` throws. */
  constructor(tls: ApiTls, options: BacksOptions) {
    this.#options = options;
    this.#tls = tls;
    this.#current = options.serve(tls);
  }

  /** The port for a new connection. Renews first when it is time; never rejects. */
  async port(): Promise<number> {
    const { renewAt = Infinity, renew } = this.#tls;
    if (renew && this.#options.now() >= renewAt) {
      await (this.#renewing ??= this.#renew(renew).finally(() => this.#renewing = undefined));
    }
    return this.#current.port;
  }

  /** The port of the one that is open now. */
  get currentPort(): number {
    return this.#current.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#renewing;
    await Promise.all([this.#current, this.#previous].map((back) => back?.[Symbol.asyncDispose]()));
  }

  async #renew(renew: () => Promise<ApiTls>): Promise<void> {
    const { serve, now, onPort, log } = this.#options;
    try {
      const tls = await renew();
      const next = serve(tls);
      onPort(next.port);
      const oldest = this.#previous;
      [this.#tls, this.#previous, this.#current] = [tls, this.#current, next];
      await oldest?.[Symbol.asyncDispose]();
    } catch (error) {
      this.#tls = { ...this.#tls, renewAt: now() + RETRY_MS };
      log.error(`Cannot renew the API's certificate: ${messageOf(error)}`);
    }
  }
}

/** What {@linkcode TlsBacks} needs. */
export interface BacksOptions {
  readonly serve: (tls: ApiTls) => Back;
  readonly now: () => number;
  /** Told of every port but the first. */
  readonly onPort: (port: number) => void;
  readonly log: ApiLog;
}
