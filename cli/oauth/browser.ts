/**
 * The login in a browser: authorization code with PKCE (RFC 6749 §4.1, RFC 7636), answered on a loopback port or by what
 * the user pastes, whichever comes first.
 *
 * Not here: whose endpoints they are (`oauth/cmd_xai.ts`), the listener (`oauth/callback.ts`).
 *
 * @module
 */
import * as oauth from "oauth4webapi";
import { ProxyError } from "../../core/errors.ts";
import type { Input, Io } from "../terminal/io.ts";
import { type ExpectedAnswer, readLines, readPasted } from "./answer.ts";
import { listenForCallback } from "./callback.ts";
import { loginError } from "./errors.ts";
import { type LoginContext, untilAborted } from "./login.ts";

/** How long the user may take. */
const LOGIN_TIMEOUT_MS = 600_000;

/** See each field. */
export interface BrowserLogin {
  /** In words, for errors: `xAI`. */
  readonly what: string;
  /** Has `authorization_endpoint` and `token_endpoint`. */
  readonly server: oauth.AuthorizationServer;
  readonly clientId: string;
  readonly scope: string;
  /** What else goes into the address that the browser opens. */
  readonly parameters: Readonly<Record<string, string>>;
  /** The loopback port; 0 lets the system choose. */
  readonly port: number;
  /** The consent page, which may deliver the answer by `fetch`. */
  readonly allowedOrigin: string;
  readonly io: Io;
  /** Default: 10 minutes. */
  readonly timeoutMs?: number;
}

/**
 * Shows the address to open on stderr, waits for the answer and trades its code for tokens. An ID token, when there is
 * one, has to be for this client and carry this login's nonce.
 *
 * @throws ProxyError `listen.failed`; `credential.unavailable` when the login is refused, interrupted or takes too long;
 * what the fetch throws
 */
export async function logInByBrowser(
  login: BrowserLogin,
  context: LoginContext,
): Promise<oauth.TokenEndpointResponse> {
  const { server, what } = login;
  const client: oauth.Client = { client_id: login.clientId };
  const verifier = oauth.generateRandomCodeVerifier();
  const nonce = oauth.generateRandomNonce();
  const expected: ExpectedAnswer = { state: oauth.generateRandomState(), issuer: server.issuer };
  try {
    const { answer, redirectUri } = await askForConsent(login, expected, context, {
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      nonce,
    });
    const response = await oauth.authorizationCodeGrantRequest(
      server,
      client,
      oauth.None(),
      oauth.validateAuthResponse(server, client, answer, expected.state),
      redirectUri,
      verifier,
      { [oauth.customFetch]: context.http.fetch },
    );
    // Logins for a team get no ID token, and then there is no nonce to check.
    const expectedNonce = await hasIdToken(response.clone()) ? nonce : oauth.expectNoNonce;
    return await oauth.processAuthorizationCodeResponse(server, client, response, { expectedNonce });
  } catch (error) {
    throw loginError(what, error);
  }
}

async function askForConsent(
  login: BrowserLogin,
  expected: ExpectedAnswer,
  { signal }: LoginContext,
  parameters: Readonly<Record<string, string>>,
): Promise<{ readonly answer: URLSearchParams; readonly redirectUri: string }> {
  const { io, what } = login;
  await using callback = listenForCallback({
    ...expected,
    port: login.port,
    allowedOrigin: login.allowedOrigin,
    onForeign: () => io.output.warn("an answer of another login came in and was refused; still waiting"),
  });
  const { redirectUri } = callback;
  const url = new URL(login.server.authorization_endpoint ?? "");
  const all = {
    response_type: "code",
    client_id: login.clientId,
    redirect_uri: redirectUri,
    scope: login.scope,
    state: expected.state,
    ...parameters,
    ...login.parameters,
  };
  for (const [name, value] of Object.entries(all)) url.searchParams.set(name, value);
  showAddress(url.href, redirectUri, io);

  const late = new AbortController();
  const timer = setTimeout(
    () =>
      late.abort(
        new ProxyError("credential.unavailable", `Cannot log in to ${what}: no answer came in time`, {
          hint: "run the command again",
        }),
      ),
    login.timeoutMs ?? LOGIN_TIMEOUT_MS,
  );
  try {
    // When standard input ends without an answer (a service, </dev/null), the callback is still waited for.
    const pasted = pastedAnswer(io.input, expected, io).then((found) => found ?? callback.answer);
    const answer = await untilAborted(
      Promise.race([callback.answer, pasted]),
      AbortSignal.any([signal, late.signal]),
    );
    return { answer, redirectUri };
  } finally {
    clearTimeout(timer);
  }
}

/** The first usable pasted line, or undefined at the end of the input. Nothing of a line is shown. */
async function pastedAnswer(
  input: Input,
  expected: ExpectedAnswer,
  io: Io,
): Promise<URLSearchParams | undefined> {
  for await (const line of readLines(input)) {
    if (line.trim() === "") continue;
    const found = readPasted(line, expected);
    if (typeof found !== "string") return found;
    io.output.note(found);
  }
  return undefined;
}

async function hasIdToken(response: Response): Promise<boolean> {
  const body: unknown = await response.json().catch(() => undefined);
  return typeof body === "object" && body !== null && "id_token" in body && body.id_token !== undefined;
}

function showAddress(address: string, redirectUri: string, io: Io): void {
  const { port } = new URL(redirectUri);
  io.output.note("Open this address in a browser and log in:");
  io.output.note("");
  io.output.note(`    ${address}`);
  io.output.note("");
  io.output.note(
    `Waiting for the browser at ${redirectUri}, for 10 minutes. From a browser on another machine,`,
  );
  io.output.note(
    `forward the port first (ssh -L ${port}:127.0.0.1:${port} HOST), or paste here the code it shows,`,
  );
  io.output.note("or the address it ends at, and press Enter.");
}
