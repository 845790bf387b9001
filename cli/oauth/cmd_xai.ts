/**
 * `oauth xai`: logs in to xAI on the host and prints what `secret create --type oauth-xai` adopts.
 *
 * @module
 */
import * as oauth from "oauth4webapi";
import { ProxyError } from "../../core/errors.ts";
import { parsePort } from "../../core/host_port.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { logInByBrowser } from "./browser.ts";
import { logInByDevice } from "./device.ts";
import { loginError } from "./errors.ts";
import { providerUrlOf } from "./http.ts";
import { defined, type LoginContext, runLogin, timeAfter } from "./login.ts";
import { usageError } from "../command/parse.ts";

const WHAT = "xAI";

/** The public client of xAI's own CLI: there is no secret, and no other client can be registered. */
const CLIENT_ID = "b1a00492-073a-47ea-816f-4c329264a828";

/** `offline_access` is what gives a refresh token. */
const SCOPE = "openid profile email offline_access grok-cli:access api:access";

/** The consent page calls the callback from here. */
const CONSENT_ORIGIN = "https://accounts.x.ai";

/** Runs the login. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const port = portOf(args);
  const issuer = providerUrlOf(args, "issuer");
  await runLogin(WHAT, args, io, {
    type: "oauth-xai",
    name: "xai",
    host: "api.x.ai",
    warning:
      "keep this login for one proxy alone: its tokens work once, and using a copy elsewhere, or logging in " +
      "again with the Grok CLI as the same user, may end it",
  }, async (context) => {
    const server = await discover(issuer, context);
    const tokens = args.has("device")
      ? await logInByDevice({
        what: WHAT,
        server,
        clientId: CLIENT_ID,
        parameters: { scope: SCOPE, referrer: "slicer-proxy" },
        fetch: context.http.fetch,
        wait: context.wait,
        io,
      })
      : await logInByBrowser({
        what: WHAT,
        server,
        clientId: CLIENT_ID,
        scope: SCOPE,
        // Clients other than xAI's own are refused the loopback address without a plan.
        parameters: { plan: "generic", referrer: "slicer-proxy" },
        port,
        allowedOrigin: CONSENT_ORIGIN,
        io,
      }, context);
    const nowMs = io.clock.now();
    return defined({
      type: "oauth-xai",
      access_token: tokens.access_token,
      refresh_token: tokens.refresh_token,
      id_token: tokens.id_token,
      token_type: "Bearer",
      token_endpoint: server.token_endpoint,
      expires_at: timeAfter(nowMs, tokens.expires_in),
      obtained_at: timeAfter(nowMs, 0),
    });
  });
}

/** `--port`, where 0 is any free one. */
function portOf(args: CommandArgs): number {
  if (args.has("port") && args.has("device")) {
    throw usageError("Cannot use --port with --device: a device login has no callback");
  }
  const text = args.textOf("port");
  const port = text === "0" ? 0 : parsePort(text);
  if (port === undefined) {
    throw usageError(
      "Cannot use --port with this value: a port is a number from 1 to 65535, or 0 for any free one",
    );
  }
  return port;
}

/** The issuer's endpoints, each checked: they are where the user's consent and the code go. */
async function discover(issuer: URL, { http }: LoginContext): Promise<oauth.AuthorizationServer> {
  const server = await oauth.discoveryRequest(issuer, { [oauth.customFetch]: http.fetch })
    .then((response) => oauth.processDiscoveryResponse(issuer, response))
    .catch((error: unknown) => {
      // The library reads the issuer's name as a URL, and throws what URL throws.
      throw error instanceof TypeError ? refuseIssuer("names itself by no URL") : loginError(WHAT, error);
    });
  const found = {
    ...server,
    device_authorization_endpoint: server.device_authorization_endpoint ??
      new URL("/oauth2/device/code", issuer).href,
  };
  const endpoints = [found.authorization_endpoint, found.token_endpoint, found.device_authorization_endpoint];
  if (!endpoints.every((endpoint) => isOfIssuer(endpoint, issuer))) {
    throw refuseIssuer("names an address that is not its own, or not https");
  }
  return found;
}

function refuseIssuer(state: string): ProxyError {
  return new ProxyError("credential.unavailable", `Cannot log in to ${WHAT}: the issuer ${state}`);
}

/** xAI spreads over `*.x.ai`; any other issuer must keep to its own name and what is below it. */
function isOfIssuer(endpoint: string | undefined, issuer: URL): boolean {
  if (endpoint === undefined || !URL.canParse(endpoint)) return false;
  const { protocol, hostname } = new URL(endpoint);
  const domain = issuer.hostname === "auth.x.ai" ? "x.ai" : issuer.hostname;
  return protocol === "https:" && (hostname === domain || hostname.endsWith(`.${domain}`));
}
