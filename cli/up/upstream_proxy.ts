/**
 * `--upstream-proxy` and the flags beside it: which parent proxies there are, and that none of them is this proxy.
 *
 * Not here: going through them (`proxy/egress/parents/parent_way.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type Cidr, cidrContains, parseCidr, parseIp } from "../../core/cidr.ts";
import type { Clock } from "../../core/clock.ts";
import { ProxyError } from "../../core/errors.ts";
import { quoteText } from "../../core/escape.ts";
import { formatHostPort, isIpLiteral, parseAuthority } from "../../core/host_port.ts";
import { parseHostPattern } from "../../policy/rule.ts";
import type { Resolve } from "../../proxy/egress/dialler.ts";
import { listenersOn } from "../../proxy/egress/own_addresses.ts";
import {
  formatParent,
  PARENT_DNS,
  type ParentProxies,
  type ParentProxy,
} from "../../proxy/egress/parents/parents.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";
import { readFileBytes } from "../terminal/input_bytes.ts";

/** A parent as the flags have it: its password is in a file. */
interface NamedParent {
  readonly pattern: string;
  readonly parent: ParentProxy;
  readonly user: string | undefined;
}

/** The flags, read and checked. */
export interface UpstreamProxyFlags extends Omit<ParentProxies, "byPattern"> {
  readonly parents: readonly NamedParent[];
  /** By pattern, or undefined for the parents that have no file of their own. */
  readonly passwordFiles: ReadonlyMap<string | undefined, string>;
}

/**
 * Reads the flags.
 *
 * @throws ProxyError `input.invalid`, `cli.usage`
 */
export function readUpstreamProxy(args: CommandArgs): UpstreamProxyFlags {
  const parents = args.list("upstream-proxy").map(parseParent);
  const twice = parents.find(({ pattern }, i) => parents.findIndex((each) => each.pattern === pattern) !== i);
  if (twice) {
    throw usageError(
      `Cannot use two --upstream-proxy for ${twice.pattern}`,
      "write one with a pattern: --upstream-proxy '*.corp.example=http://proxy.corp.example:3128'",
    );
  }
  const passwordFiles = readPasswordFiles(args.list("upstream-proxy-password-file"), parents);
  const direct = args.list("no-upstream-proxy");
  const dns = PARENT_DNS.find((each) => each === args.textOf("upstream-proxy-dns")) ?? "local";
  if (parents.length === 0 && (direct.length > 0 || dns === "parent")) {
    throw usageError(
      "Cannot use --no-upstream-proxy or --upstream-proxy-dns without --upstream-proxy",
      "add --upstream-proxy http://proxy.corp.example:3128",
    );
  }
  return { parents, passwordFiles, dns, ...readDirect(direct) };
}

/**
 * The parents with their passwords. Each is looked up once, to see that it is not this proxy; one whose name cannot be found
 * yet is looked at again with every dial.
 *
 * @throws ProxyError `input.invalid`
 */
export async function loadParents(
  { parents, passwordFiles, ...rest }: UpstreamProxyFlags,
  { listeners, resolve, clock }: {
    readonly listeners: readonly Pick<Deno.NetAddr, "hostname" | "port">[];
    readonly resolve: Resolve;
    readonly clock: Clock;
  },
): Promise<ParentProxies> {
  const byPattern = await Promise.all(parents.map(async ({ pattern, parent, user }) => {
    const own = listenersOn(parent.port, listeners, clock);
    const addresses = isIpLiteral(parent.host) ? [parent.host] : await resolve(parent.host).catch(() => []);
    if (addresses.some((address) => isWithin(own, address))) throw isThisProxy(parent);
    if (user === undefined) return { pattern, parent };
    const file = passwordFiles.get(pattern) ?? passwordFiles.get(undefined);
    const password = file === undefined ? "" : await readPassword(file);
    const authorization = `Basic ${Buffer.from(`${user}:${password}`, "utf8").toString("base64")}`;
    return { pattern, parent: { ...parent, authorization } };
  }));
  return { byPattern, ...rest };
}

function isWithin(cidrs: readonly Cidr[], address: string): boolean {
  const ip = parseIp(address);
  return ip !== undefined && cidrs.some((cidr) => cidrContains(cidr, ip));
}

function isThisProxy(parent: ParentProxy): ProxyError {
  return new ProxyError(
    "input.invalid",
    `Cannot use ${formatParent(parent)} as the parent proxy: it is this proxy itself`,
    { hint: "give the port on which the other proxy listens" },
  );
}

/** `[PATTERN=]http[s]://[USER@]HOST:PORT`. A URL has no `=` before its `://`. */
function parseParent(text: string): NamedParent {
  const equals = text.slice(0, Math.max(0, text.indexOf("://"))).indexOf("=");
  const pattern = equals < 0 ? "*" : parseHostPattern(text.slice(0, equals));
  const url = equals < 0 ? text : text.slice(equals + 1);
  const match = /^(https?):\/\/(?:([^@/]*)@)?([^@/]+)\/?$/.exec(url);
  const [, scheme, userinfo, authority = ""] = match ?? [];
  if (userinfo?.includes(":")) {
    throw new ProxyError(
      "input.invalid",
      "Cannot take a password in --upstream-proxy: other users see it in ps",
      {
        hint: "write it into a file, and give --upstream-proxy-password-file FILE",
      },
    );
  }
  const place = parseAuthority(authority);
  const user = userinfo === undefined ? undefined : parseUser(userinfo);
  if (!match || !place || (userinfo !== undefined && user === undefined)) {
    throw new ProxyError(
      "input.invalid",
      `Cannot use ${quoteText(withoutUser(url), 100)} as a parent proxy`,
      {
        hint: "write http://HOST:PORT or https://HOST:PORT, with USER@ before HOST where it wants one",
      },
    );
  }
  return { pattern, parent: { scheme: scheme === "https" ? "https" : "http", ...place }, user };
}

/** RFC 7617 §2: a user has no colon and no control bytes. Undefined for what is none. */
function parseUser(text: string): string | undefined {
  try {
    const user = decodeURIComponent(text);
    // deno-lint-ignore no-control-regex
    return user === "" || /[:\x00-\x1f\x7f]/.test(user) ? undefined : user;
  } catch {
    return undefined;
  }
}

/** What was meant as a user may hold a password. */
function withoutUser(url: string): string {
  return url.slice(url.lastIndexOf("@") + 1);
}

function readPasswordFiles(
  values: readonly string[],
  parents: readonly NamedParent[],
): UpstreamProxyFlags["passwordFiles"] {
  const files = new Map<string | undefined, string>();
  for (const value of values) {
    const equals = value.indexOf("=");
    const pattern = equals < 0 ? undefined : parseHostPattern(value.slice(0, equals));
    const isFor = (each: NamedParent) =>
      each.user !== undefined && (pattern === undefined || each.pattern === pattern);
    if (files.has(pattern) || !parents.some(isFor)) {
      throw usageError(
        `Cannot use --upstream-proxy-password-file ${value}: ` +
          (files.has(pattern) ? "there are two of its kind" : "it is for no --upstream-proxy with a user"),
        "write the user into the URL: --upstream-proxy http://USER@HOST:PORT",
      );
    }
    files.set(pattern, equals < 0 ? value : value.slice(equals + 1));
  }
  const without = parents.find(({ user, pattern }) =>
    user !== undefined && !files.has(pattern) && !files.has(undefined)
  );
  if (!without) return files;
  throw usageError(
    `Cannot use ${formatHostPort(without.parent)} with a user and without a password`,
    "give --upstream-proxy-password-file FILE",
  );
}

const MAX_PASSWORD_BYTES = 1_024;

async function readPassword(file: string): Promise<string> {
  const text = new TextDecoder().decode(await readFileBytes(file, MAX_PASSWORD_BYTES)).replace(/\r?\n$/, "");
  // deno-lint-ignore no-control-regex
  if (text !== "" && !/[\x00-\x1f\x7f]/.test(text)) return text;
  throw new ProxyError("input.invalid", `Cannot use ${file} as the parent proxy's password: it holds none`, {
    hint: "one line with the password",
  });
}

/** Networks, and hosts as in rules; `.corp.example` is the name and all below, as in `NO_PROXY`. */
function readDirect(values: readonly string[]): Pick<ParentProxies, "directHosts" | "directCidrs"> {
  const directHosts: string[] = [];
  const directCidrs: Cidr[] = [];
  for (const value of values) {
    if (value.includes("/") || parseIp(value)) directCidrs.push(parseCidr(value));
    else if (value.startsWith(".")) {
      const name = parseHostPattern(value.slice(1));
      directHosts.push(name, `*.${name}`);
    } else directHosts.push(parseHostPattern(value));
  }
  return { directHosts, directCidrs };
}
