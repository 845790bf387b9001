/**
 * What `up --audit-otlp` and its two companions may say.
 *
 * Not here: opening what they name (`otlp_target.ts`).
 *
 * @module
 */
import { parseIp } from "../../core/cidr.ts";
import { ProxyError } from "../../core/errors.ts";
import { isNearAddress } from "../../policy/address.ts";

/** What `--audit-otlp` and its two companions say. */
export interface OtlpPlace {
  readonly url: string;
  readonly headersFile: string | undefined;
  readonly caFile: string | undefined;
}

/** Where OTLP/HTTP takes logs, when the URL has no path. */
const LOGS_PATH = "/v1/logs";
/** What the request itself says, or is framed by. */
const OWN_HEADERS = [
  ...["host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection"],
  ...["accept-encoding", "user-agent", "te", "trailer", "upgrade", "expect"],
];

/**
 * The URL that records are posted to: https, or http to a machine near by.
 *
 * @throws ProxyError `input.invalid`
 */
export function parseOtlpUrl(text: string): string {
  const refuse = (why: string) => {
    throw new ProxyError("input.invalid", `Cannot use --audit-otlp: ${why}`, {
      hint: "write https://HOST[:PORT][/PATH]; http:// does for a loopback or private address",
    });
  };
  const url = URL.canParse(text) ? new URL(text) : refuse("it is no URL");
  if (url.protocol !== "https:" && url.protocol !== "http:") refuse("its scheme is neither https nor http");
  if (url.username !== "" || url.password !== "") {
    refuse("it has a user or a password, which belong into --audit-otlp-headers-file");
  }
  const ip = parseIp(url.hostname.replace(/^\[|\]$/g, ""));
  if (url.protocol === "http:" && ip && !isNearAddress(ip)) {
    refuse("http is for loopback and private addresses");
  }
  url.hash = "";
  if (url.pathname === "/") url.pathname = LOGS_PATH;
  return url.href;
}

/**
 * Headers, one a line (`Name: value`). Empty lines and those that begin with `#` say nothing.
 *
 * @throws ProxyError `input.invalid`, which names the line and not what it holds
 */
export function parseOtlpHeaders(text: string, file: string): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const colon = line.indexOf(":");
    const [name, value] = [line.slice(0, colon), line.slice(colon + 1).trim()];
    const isHeader = colon > 0 && /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(name) && /^[\x20-\x7e]+$/.test(value);
    if (isHeader && !OWN_HEADERS.includes(name.toLowerCase())) headers[name] = value;
    else {
      const why = isHeader ? `${name} is the proxy's own to say` : "it is no header";
      throw new ProxyError("input.invalid", `Cannot use line ${i + 1} of ${file}: ${why}`, {
        hint: "write Authorization: Bearer TOKEN, one header a line",
      });
    }
  }
  return headers;
}
