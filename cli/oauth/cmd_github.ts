/**
 * `oauth github-app-user`: logs a user in to a GitHub App on the host, by the device flow, and prints what
 * `secret create --type github-app-user` adopts.
 *
 * @module
 */
import type { AuthorizationServer } from "oauth4webapi";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { logInByDevice } from "./device.ts";
import { type ProviderFetch, type ProviderRequest, providerUrlOf } from "./http.ts";
import { defined, runLogin, timeAfter } from "./login.ts";
import { usageError } from "../command/parse.ts";

/** Runs the login. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const clientId = args.textOf("client-id");
  const base = providerUrlOf(args, "github-url");
  if (base.pathname !== "/") {
    throw usageError(
      "Cannot use --github-url with a path: it is the address of the server",
      "write https://HOST",
    );
  }
  const server: AuthorizationServer & { readonly token_endpoint: string } = {
    issuer: base.origin,
    device_authorization_endpoint: `${base.origin}/login/device/code`,
    token_endpoint: `${base.origin}/login/oauth/access_token`,
  };
  await runLogin("GitHub", args, io, {
    type: "github-app-user",
    name: "github",
    host: apiHostOf(base.hostname),
    warning:
      "keep this login for one proxy alone: its refresh token works once, so using a copy elsewhere ends it",
  }, async ({ http, wait }) => {
    const tokens = await logInByDevice({
      what: "GitHub",
      server,
      clientId,
      parameters: {},
      fetch: (url, request) => fetchFromGitHub(http.fetch, url, request),
      wait,
      io,
    });
    const nowMs = io.clock.now();
    return defined({
      type: "github-app-user",
      client_id: clientId,
      access_token: tokens.access_token,
      refresh_token: tokens.refresh_token,
      token_type: tokens.token_type,
      token_endpoint: server.token_endpoint,
      // An app may opt out of expiry; then there is no refresh token either.
      expires_at: timeAfter(nowMs, tokens.expires_in),
      refresh_token_expires_at: timeAfter(nowMs, tokens.refresh_token_expires_in),
      obtained_at: timeAfter(nowMs, 0),
    });
  });
}

/** Where the API of a GitHub is: GHES has it on its own host, github.com and ghe.com on `api.`. */
function apiHostOf(hostname: string): string {
  return hostname === "github.com" || hostname.endsWith(".ghe.com") ? `api.${hostname}` : hostname;
}

/** GitHub answers errors with status 200, "pending" among them; RFC 6749 §5.2 has 400, which the library understands. */
async function fetchFromGitHub(
  fetch: ProviderFetch,
  url: string,
  request: ProviderRequest,
): Promise<Response> {
  const response = await fetch(url, request);
  if (response.status !== 200) return response;
  const text = await response.text();
  const { headers } = response;
  return new Response(text, { status: isErrorBody(text) ? 400 : 200, headers });
}

function isErrorBody(text: string): boolean {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === "object" && body !== null && "error" in body;
  } catch {
    return false;
  }
}
