/**
 * Tells a webhook of every request that begins to wait for a person (`up --ask-webhook`). Each call is signed, so that whoever
 * takes it knows that the proxy sent it, and when. A webhook only tells: decisions come by the API.
 *
 * Not here: who decides (`approvals.ts`), the connection (`proxy/egress/provider_call.ts`): its addresses are checked as
 * those of every upstream.
 *
 * @module
 */
import { createHmac } from "node:crypto";
import { messageOf, ProxyError } from "../../core/errors.ts";
import { formatHostPort } from "../../core/host_port.ts";
import type { Ask } from "../../proxy/decide/asks.ts";
import type { ProviderCall } from "../../secrets/provider_call.ts";

/** Calls that wait for the one under way. A VM that floods makes its own calls late, and then none. */
const MAX_QUEUED = 64;
/** From the end of a call to the next: two a second are more than anybody reads. */
const PAUSE_MS = 500;
const CALL_LIMIT_MS = 10_000;

/** See {@linkcode AskWebhook}. */
export interface AskWebhookParts {
  /** An https URL. */
  readonly url: string;
  /** The key of the signatures. */
  readonly secret: string;
  readonly call: ProviderCall;
  readonly now: () => number;
  readonly log: { warn(line: string): void };
  /** Tests pass a shorter one. */
  readonly pauseMs?: number;
}

/**
 * What a webhook is sent for a request, as JSON. What its client has chosen is as it sent it; the query, which may hold
 * what is secret, is only in `requests list`.
 */
export function webhookBody(
  { id, client, scheme, host, port, path, method, sinceMs, untilMs, reason }: Ask,
) {
  return {
    event: reason === undefined ? "request" : "rule-request",
    ...{ id, client, method, url: `${scheme}://${formatHostPort({ host, port })}${path}` },
    ...(reason === undefined ? {} : { reason }),
    since: new Date(sinceMs).toISOString(),
    until: new Date(untilMs).toISOString(),
  };
}

/** The signature over a body: `v1=` and the HMAC-SHA-256, in hex, of the timestamp (Unix seconds), a full stop and the body. */
export function signBody(secret: string, timestamp: number, body: string): string {
  return `v1=${createHmac("sha256", secret).update(`${timestamp}.${body}`).digest("hex")}`;
}

const NO_URL = { protocol: "", username: "", password: "" };

/** See the module. Nothing waits for it, and what cannot be told is logged. */
export class AskWebhook implements AsyncDisposable {
  readonly #parts: AskWebhookParts;
  readonly #queue: Ask[] = [];
  readonly #stop = new AbortController();
  #sending: Promise<void> | undefined;
  #dropped = 0;

  /** @throws ProxyError `input.invalid` for a URL that is no https URL, or a secret that can be guessed */
  constructor(parts: AskWebhookParts) {
    const { protocol, username, password } = URL.canParse(parts.url) ? new URL(parts.url) : NO_URL;
    if (protocol !== "https:" || username !== "" || password !== "") {
      throw new ProxyError(
        "input.invalid",
        "Cannot use --ask-webhook: it is no https URL without user and password",
      );
    }
    if (parts.secret.length < 16) {
      throw new ProxyError(
        "input.invalid",
        "Cannot sign for --ask-webhook: its secret has fewer than 16 characters",
        {
          hint: "openssl rand -hex 32 > FILE",
        },
      );
    }
    this.#parts = parts;
  }

  /** Tells of a request. */
  tell(ask: Ask): void {
    if (this.#queue.length >= MAX_QUEUED) {
      this.#dropped++;
      return;
    }
    this.#queue.push(ask);
    this.#sending ??= this.#send();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#sending;
  }

  async #send(): Promise<void> {
    const { log, pauseMs = PAUSE_MS } = this.#parts;
    const { signal } = this.#stop;
    for (let ask = this.#queue.shift(); ask && !signal.aborted; ask = this.#queue.shift()) {
      try {
        await this.#post(JSON.stringify(webhookBody(ask)));
      } catch (error) {
        if (!signal.aborted) log.warn(`the webhook for ${ask.id} failed: ${messageOf(error)}`);
      }
      if (this.#queue.length > 0) await paused(pauseMs, signal);
      if (this.#dropped > 0 && this.#queue.length === 0) {
        log.warn(`${this.#dropped} requests that wait were not told to the webhook: there were too many`);
        this.#dropped = 0;
      }
    }
    this.#sending = undefined; // in the turn that found nothing more: whoever tells of one next begins anew
  }

  async #post(body: string): Promise<void> {
    const { url, secret, call, now } = this.#parts;
    const timestamp = Math.floor(now() / 1_000);
    const limit = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(CALL_LIMIT_MS)]);
    const { status } = await call({
      method: "POST",
      url,
      headers: {
        "Content-Type": "application/json",
        "X-Slicer-Proxy-Timestamp": String(timestamp),
        "X-Slicer-Proxy-Signature": signBody(secret, timestamp, body),
      },
      body,
    }, limit);
    if (status < 200 || status > 299) throw new Error(`it answered with ${status}`);
  }
}

function paused(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}
