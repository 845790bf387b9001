/**
 * SOCKS5 (RFC 1928) with username and password (RFC 1929), and SOCKS4a: the handshake, and who may do it without
 * credentials. What is opened is a tunnel like any other.
 *
 * Not here: what becomes of the tunnel (`connect.ts`, `tunnel.ts`).
 *
 * @module
 */
import { modeOf } from "../context.ts";
import { cidrContains, formatIp, parseCidr, parseIp } from "../../core/cidr.ts";
import { type ErrorCode, ProxyError } from "../../core/errors.ts";
import { type HostPort, parseHost } from "../../core/host_port.ts";
import { cutAt } from "../../core/text.ts";
import { decideConnect } from "../../policy/decide.ts";
import type { Reason } from "../../policy/reason.ts";
import type { Rule } from "../../policy/rule.ts";
import { type ByteReader, writeAll } from "../streams/byte_reader.ts";
import { type Inside, openTunnel } from "./connect.ts";
import { type Refusal, refusalOf } from "../error_response.ts";
import { checkStore, checkSuspension, clientOf, linger, type OpenSession } from "../exchange.ts";
import { latin1 } from "../http1/head_reader.ts";
import type { Next } from "../http1/request.ts";
import type { Client, PolicySource } from "../policy_source.ts";
import { passThrough } from "./tunnel.ts";

/** The first byte of each version. */
export const SOCKS5 = 0x05;
export const SOCKS4 = 0x04;

const CONNECT = 0x01;
const NO_AUTH = 0x00;
const USERNAME_PASSWORD = 0x02;
const NO_ACCEPTABLE_METHOD = 0xff;

/** What a SOCKS client asks for, and how it is answered. */
export interface SocksRequest {
  readonly version: typeof SOCKS4 | typeof SOCKS5;
  readonly target: HostPort;
  /** The token that was shown, or undefined when none was. */
  readonly token: string | undefined;
}

/** A client's part of the handshake: decides on credentials before the target is read (RFC 1929 §2). */
export interface SocksDialogue {
  readonly reader: ByteReader;
  readonly reply: (bytes: Uint8Array) => Promise<void>;
  /** Whether a client without credentials may go on to say where it wants to. */
  readonly mayBeAnonymous: boolean;
  /** Throws when it is no client's. */
  readonly checkToken: (token: string) => void;
}

/**
 * Serves a SOCKS connection. Owns the stream. Never rejects.
 *
 * @returns the tunnel, where it is looked into: it is for the caller to serve
 */
export async function serveSocks(session: OpenSession): Promise<Inside | undefined> {
  const { stream, reader, context, state } = session;
  const startedAt = context.clock.monotonic();
  const deadline = context.deadlines.start(context.limits.headTimeoutMs, () => stream.close());
  let request: SocksRequest | undefined;
  const method = reader.available[0] === SOCKS4 ? "SOCKS4" : "SOCKS5";
  const refuse = async (refusal: Refusal, client?: Client): Promise<Next> => {
    context.audit.write({
      verdict: "deny",
      client: client?.name,
      ...(request && request.token === undefined ? { auth: "none" as const } : {}),
      method,
      ...request?.target,
      ...(refusal.status === 403 ? { mode: modeOf(context, client?.name) } : {}),
      reason: refusal.reason,
      origin: session.origin,
    });
    if (request) await writeAll(stream, formatReply(request.version, replyCode(refusal))).catch(() => {});
    await linger(session);
    stream.close();
    return "taken";
  };
  try {
    if (!context.audit.isWritable) throw new ProxyError("audit.write-failed", "Cannot write the audit log");
    request = await readSocksRequest({
      reader,
      reply: (bytes) => writeAll(stream, bytes),
      mayBeAnonymous: context.socksAuth === "optional" && isLocalSource(state.source),
      checkToken: (token) => clientOf(token, session),
    });
    deadline.stop();
    const { version, target, token } = request;
    const admit = () => writeAll(stream, formatReply(version, SUCCEEDED));
    const client = token === undefined ? undefined : context.policy.clientByToken(token);
    if (token === undefined) {
      await serveAnonymous(session, { target, startedAt, admit });
      return undefined;
    }
    if (!client) throw socksError("auth.invalid", "no client has this token");
    if (!state.identify(client.name)) {
      throw new ProxyError("limit.reached", "Cannot open the tunnel: too many connections", {
        reason: "quota",
      });
    }
    checkSuspension(client, context);
    const opened = await openTunnel(session, {
      client,
      target,
      startedAt,
      method,
      admit,
      refuse: (refusal) => refuse(refusal, client),
    });
    return typeof opened === "function" ? opened : undefined;
  } catch (error) {
    if (!(error instanceof ProxyError)) {
      // The stream was closed under us: by the deadline or by the client.
      if (!isStreamError(error)) context.reportBug(error);
      stream.close();
      return undefined;
    }
    const client = request?.token === undefined ? undefined : context.policy.clientByToken(request.token);
    await refuse(refusalOf(error), client);
    return undefined;
  } finally {
    deadline.stop();
  }
}

/**
 * A tunnel without credentials: only to what some client's passthrough rule names with an exact host and port, and only
 * where that rule is its owner's first match (SPEC section 2). It has a quota of its own and ends with the rule.
 */
async function serveAnonymous(
  session: OpenSession,
  { target, startedAt, admit }: {
    readonly target: HostPort;
    readonly startedAt: number;
    readonly admit: () => Promise<void>;
  },
): Promise<void> {
  const { context } = session;
  checkStore(context);
  const found = findAnonymousRule(context.policy, target);
  if (!found) throw socksError("auth.missing", "no passthrough rule names this host and port for everyone");
  if (context.policy.isTokenEndpoint({ host: target.host })) {
    throw new ProxyError(
      "policy.mismatch",
      "Cannot open the tunnel: the proxy renews its credentials there",
      {
        reason: "token-endpoint",
      },
    );
  }
  const release = context.admission.tryAnonymous();
  if (!release) {
    throw new ProxyError("limit.reached", "Cannot open the tunnel: too many", { reason: "quota" });
  }
  try {
    session.state.identify(ANONYMOUS);
    const identity = { client: undefined, auth: "none" as const, ruleOwner: found.client.name };
    await passThrough(session, { ...found, target, startedAt, admit, identity });
  } finally {
    release();
  }
}

/** No client has this name: it holds the place of connections that are counted by `Admission.tryAnonymous`. */
const ANONYMOUS = "-";

/** The first client, by name, whose rules pass the target through to everyone. */
export function findAnonymousRule(
  policy: Pick<PolicySource, "clientsPassing" | "rulesFor">,
  target: HostPort,
): { readonly client: Client; readonly rule: Rule } | undefined {
  // Only their owners are looked at: whoever asks has shown nothing, and there may be thousands of clients.
  for (const client of policy.clientsPassing(target.host, target.port)) {
    const decision = decideConnect(policy.rulesFor(client, target.host), target);
    if (decision.verdict !== "passthrough") continue;
    const { rule } = decision;
    if (rule.host === target.host && rule.ports.includes(target.port)) return { client, rule };
  }
  return undefined;
}

const LOCAL_SOURCES = [
  "127.0.0.0/8",
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "169.254.0.0/16",
  "::1/128",
  "fc00::/7",
  "fe80::/10",
].map(parseCidr);

/** True for loopback, private and link-local addresses (RFC 1918, 3927, 4193, 4291). */
export function isLocalSource(source: string): boolean {
  const ip = parseIp(cutAt(source, "%").replace(/^::ffff:(?=\d+\.)/i, ""));
  return ip !== undefined && LOCAL_SOURCES.some((network) => cidrContains(network, ip));
}

/**
 * The client's side of the handshake up to its request.
 *
 * @throws ProxyError `client.malformed`, `client.closed`, `auth.missing`, `auth.invalid`; where the
 * protocol has an answer for that it was given
 */
export async function readSocksRequest(dialogue: SocksDialogue): Promise<SocksRequest> {
  const bytes = new Fields(dialogue.reader);
  const version = await bytes.number(1);
  return version === SOCKS4 ? await readSocks4(bytes, dialogue) : await readSocks5(bytes, dialogue);
}

async function readSocks5(bytes: Fields, dialogue: SocksDialogue): Promise<SocksRequest> {
  const { reply } = dialogue;
  const methods = await bytes.take(await bytes.number(1));
  let token: string | undefined;
  if (methods.includes(USERNAME_PASSWORD)) {
    await reply(new Uint8Array([SOCKS5, USERNAME_PASSWORD]));
    token = await readPassword(bytes);
    try {
      dialogue.checkToken(token);
    } catch (error) {
      await reply(new Uint8Array([1, 1]));
      throw error;
    }
    await reply(new Uint8Array([1, 0]));
  } else if (methods.includes(NO_AUTH) && dialogue.mayBeAnonymous) {
    await reply(new Uint8Array([SOCKS5, NO_AUTH]));
  } else {
    await reply(new Uint8Array([SOCKS5, NO_ACCEPTABLE_METHOD]));
    throw socksError("auth.missing", "the client offers no username and password");
  }
  const [version = 0, command = 0, reserved = 0, addressType = 0] = await bytes.take(4);
  if (version !== SOCKS5 || reserved !== 0) throw malformed("the request is none");
  const fail = async (code: number, what: string): Promise<never> => {
    await reply(formatReply(SOCKS5, code));
    throw malformed(what);
  };
  let host: string | undefined;
  if (addressType === 1) host = formatIp(await bytes.take(4));
  else if (addressType === 4) host = formatIp(await bytes.take(16));
  else if (addressType === 3) host = parseHost(latin1(await bytes.take(await bytes.number(1))));
  else return await fail(8, "the address type is unknown");
  const port = await bytes.number(2);
  if (command !== CONNECT) return await fail(7, "only CONNECT is served");
  if (host === undefined || port === 0) return await fail(1, "the host or port is none");
  return { version: SOCKS5, target: { host, port }, token };
}

/** RFC 1929: the user is ignored, the password is the token. */
async function readPassword(bytes: Fields): Promise<string> {
  if (await bytes.number(1) !== 1) throw malformed("the username and password message is none");
  await bytes.take(await bytes.number(1));
  return latin1(await bytes.take(await bytes.number(1)));
}

/** SOCKS4a: `4, command, port, 0.0.0.x, userid, 0, host, 0`; with another address it is SOCKS4. It carries no credentials. */
async function readSocks4(bytes: Fields, { reply, mayBeAnonymous }: SocksDialogue): Promise<SocksRequest> {
  const command = await bytes.number(1);
  const port = await bytes.number(2);
  const address = await bytes.take(4);
  await bytes.text();
  const isNamed = address[0] === 0 && address[1] === 0 && address[2] === 0 && address[3] !== 0;
  const host = isNamed ? parseHost(await bytes.text()) : formatIp(address);
  const fail = async (error: ProxyError): Promise<never> => {
    await reply(formatReply(SOCKS4, GENERAL_FAILURE));
    throw error;
  };
  if (command !== CONNECT) return await fail(malformed("only CONNECT is served"));
  if (host === undefined || port === 0) return await fail(malformed("the host or port is none"));
  if (!mayBeAnonymous) return await fail(socksError("auth.missing", "SOCKS4 carries no credentials"));
  return { version: SOCKS4, target: { host, port }, token: undefined };
}

/** RFC 1928 §6. */
const SUCCEEDED = 0;
const GENERAL_FAILURE = 1;

const UNREACHABLE: ReadonlySet<Reason> = new Set<Reason>([
  ...["connect-unreachable", "dns", "connect-timeout"] as const,
  ...["parent-unreachable", "parent-failed", "parent-timeout"] as const,
]);

function replyCode({ reason, status }: Refusal): number {
  if (status === 403 || status === 407) return 2;
  if (reason === "connect-refused") return 5;
  if (UNREACHABLE.has(reason)) return 4;
  return GENERAL_FAILURE;
}

function formatReply(version: number, code: number): Uint8Array {
  if (version === SOCKS4) return new Uint8Array([0, code === SUCCEEDED ? 0x5a : 0x5b, 0, 0, 0, 0, 0, 0]);
  return new Uint8Array([SOCKS5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
}

/** Takes fields of known or terminated length from a reader. */
class Fields {
  readonly #reader: ByteReader;

  constructor(reader: ByteReader) {
    this.#reader = reader;
  }

  async take(count: number): Promise<Uint8Array> {
    while (this.#reader.size < count) await this.#more();
    const bytes = this.#reader.available.slice(0, count);
    this.#reader.consume(count);
    return bytes;
  }

  async number(size: number): Promise<number> {
    return (await this.take(size)).reduce((value, byte) => value * 256 + byte, 0);
  }

  /** Up to a NUL, which is taken too. */
  async text(): Promise<string> {
    for (;;) {
      const end = this.#reader.available.indexOf(0);
      if (end > MAX_TEXT || (end < 0 && this.#reader.size > MAX_TEXT)) throw malformed("a text is too long");
      if (end >= 0) return latin1((await this.take(end + 1)).subarray(0, end));
      await this.#more();
    }
  }

  async #more(): Promise<void> {
    if (!await this.#reader.fill()) {
      throw new ProxyError("client.closed", "Cannot serve SOCKS: the connection ended in the handshake");
    }
  }
}

/** A host name has at most 253 bytes, a user id is ignored. */
const MAX_TEXT = 255;

function isStreamError(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.UnexpectedEof || error instanceof Deno.errors.NotConnected;
}

function malformed(what: string): ProxyError {
  return new ProxyError("client.malformed", `Cannot serve SOCKS: ${what}`, { reason: "malformed" });
}

function socksError(code: Extract<ErrorCode, `auth.${string}`>, what: string): ProxyError {
  return new ProxyError(code, `Cannot tell who is asking: ${what}`, {
    reason: code === "auth.missing" ? "auth-missing" : "auth-invalid",
  });
}
