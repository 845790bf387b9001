/**
 * The device flow (RFC 8628): the user types a short code on any device while this program asks whether it was done.
 *
 * Not here: where the provider's endpoints are (`cmd_oauth_*.ts`).
 *
 * @module
 */
import * as oauth from "oauth4webapi";
import { isProxyError, ProxyError } from "../../core/errors.ts";
import { errorCodeOf, loginError } from "./errors.ts";
import type { ProviderFetch } from "./http.ts";
import type { Io } from "../terminal/io.ts";

/** RFC 8628 §3.2: the interval when the provider gives none, and §3.5: what `slow_down` adds to it. */
const DEFAULT_INTERVAL_S = 5;
const SLOW_DOWN_S = 5;

/** No provider is asked more often. */
const MIN_INTERVAL_S = 1;

/** A fifth more than asked: a clock may run fast, and a provider that is asked too early answers `slow_down` for ever. */
const WAIT_MS_PER_S = 1_200;

/** Providers give 5 to 30 minutes; nobody comes back after an hour. */
const MAX_LIFE_S = 3_600;

/** See each field. */
export interface DeviceLogin {
  /** In words, for errors: `GitHub`. */
  readonly what: string;
  /** Has `device_authorization_endpoint` and `token_endpoint`. */
  readonly server: oauth.AuthorizationServer;
  readonly clientId: string;
  /** What else goes into the first request. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly fetch: ProviderFetch;
  readonly io: Io;
  /** Resolves after so many milliseconds, or rejects when the login is interrupted. */
  readonly wait: (ms: number) => Promise<void>;
}

/**
 * Shows the code on stderr and waits until it was used. A provider that cannot be reached is asked again, less often,
 * until the code expires.
 *
 * @throws ProxyError `credential.unavailable` when the provider refuses or the code expires, and what the fetch throws
 */
export async function logInByDevice(login: DeviceLogin): Promise<oauth.TokenEndpointResponse> {
  const { server, io } = login;
  const client: oauth.Client = { client_id: login.clientId };
  const options = { [oauth.customFetch]: login.fetch };
  try {
    const device = await oauth.processDeviceAuthorizationResponse(
      server,
      client,
      await oauth.deviceAuthorizationRequest(server, client, oauth.None(), login.parameters, options),
    );
    showCode(device, login);
    const ask = async () =>
      await oauth.processDeviceCodeResponse(
        server,
        client,
        await oauth.deviceCodeGrantRequest(server, client, oauth.None(), device.device_code, options),
      );
    const endsAt = io.clock.monotonic() + Math.min(device.expires_in, MAX_LIFE_S) * 1_000;
    return await poll(ask, device.interval ?? DEFAULT_INTERVAL_S, endsAt, login);
  } catch (error) {
    throw loginError(login.what, error);
  }
}

async function poll<T>(
  ask: () => Promise<T>,
  firstIntervalS: number,
  endsAt: number,
  { what, io, wait }: DeviceLogin,
): Promise<T> {
  let intervalS = Math.max(firstIntervalS, MIN_INTERVAL_S);
  for (;;) {
    const leftMs = endsAt - io.clock.monotonic();
    if (leftMs <= 0) {
      throw new ProxyError("credential.unavailable", `Cannot log in to ${what}: the code has expired`, {
        hint: "run the command again",
      });
    }
    await wait(Math.min(intervalS * WAIT_MS_PER_S, leftMs));
    try {
      return await ask();
    } catch (error) {
      const code = errorCodeOf(error);
      if (code === "authorization_pending") continue;
      const isUnreachable = isProxyError(error, "upstream.unreachable", "upstream.timeout");
      if (code !== "slow_down" && !isUnreachable) throw error;
      if (isUnreachable) io.output.warn(`${error.message}; trying again`);
      intervalS = Math.max(intervalS + SLOW_DOWN_S, intervalIn(error));
    }
  }
}

/** GitHub's `slow_down` carries the new interval. */
function intervalIn(error: unknown): number {
  const body = error instanceof oauth.ResponseBodyError ? error.cause : {};
  return typeof body.interval === "number" && Number.isFinite(body.interval) ? body.interval : 0;
}

function showCode(device: oauth.DeviceAuthorizationResponse, { what, io }: DeviceLogin): void {
  const isHttps = (text: string) => URL.canParse(text) && new URL(text).protocol === "https:";
  if (!isHttps(device.verification_uri)) {
    throw new ProxyError(
      "credential.unavailable",
      `Cannot log in to ${what}: the provider names no https address to open`,
    );
  }
  io.output.note(`Open ${device.verification_uri} in a browser on any device and type this code:`);
  io.output.note("");
  io.output.note(`    ${device.user_code}`);
  io.output.note("");
  const complete = device.verification_uri_complete;
  if (complete !== undefined && isHttps(complete)) {
    io.output.note(`or open this address, which holds the code:`);
    io.output.note("");
    io.output.note(`    ${complete}`);
    io.output.note("");
  }
  io.output.note(`The code is good for ${Math.max(1, Math.round(device.expires_in / 60))} minutes. Waiting…`);
}
