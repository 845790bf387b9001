/**
 * Calls to the providers of credentials, on the way that every upstream connection takes: resolved once, every address
 * checked, TLS verified. One request, one connection, no redirects, an answer of bounded size.
 *
 * Not here: what is asked and what an answer means (`secrets/`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../../core/errors.ts";
import { parseHost } from "../../core/host_port.ts";
import type { Limits } from "../../core/limits.ts";
import type { ProviderCall, ProviderRequest, ProviderResponse } from "../../secrets/provider_call.ts";
import { type Body, responseBody } from "../http1/body.ts";
import { dechunk } from "../http1/body_text.ts";
import { closeQuietly, writeAll } from "../streams/byte_reader.ts";
import { makeField, valuesOf } from "../message/fields.ts";
import { readResponseHead } from "../http1/head_reader.ts";
import { formatRequestHead } from "../http1/head_writer.ts";
import type { Dialler } from "./dialler.ts";
import type { UpstreamConnection } from "./upstream_connection.ts";

/** A token endpoint's answer is a few KiB. */
const MAX_BODY_BYTES = 1_048_576;

/** Counted apart from every client: names of clients are never empty. */
const OURSELVES = { name: "", version: "" };

/**
 * Calls by way of `dialler`. Errors name the host and never what was sent.
 *
 * @param options `mayBeClear` takes http URLs too, and dials only loopback and private addresses for them
 */
export function providerCall(
  dialler: Pick<Dialler, "dial">,
  limits: Limits,
  { mayBeClear = false } = {},
): ProviderCall {
  return async (request, signal) => {
    const url = new URL(request.url);
    const host = parseHost(url.hostname.replace(/^\[|\]$/g, ""));
    const isClear = mayBeClear && url.protocol === "http:";
    if (!(isClear || url.protocol === "https:") || host === undefined) {
      throw new ProxyError("input.invalid", "Cannot call the provider: its URL is no https URL");
    }
    const scheme = isClear ? "http" : "https";
    const port = Number(url.port || (isClear ? 80 : 443));
    const target = { scheme, host, port, client: OURSELVES, ruleHost: host, isOnlyNear: isClear } as const;
    const connection = await dialler.dial(target, signal);
    const cut = () => closeQuietly(connection.stream);
    signal.addEventListener("abort", cut);
    try {
      signal.throwIfAborted();
      const bytes = requestBytes(request, url);
      if (request.maySend?.() === false) {
        throw new ProxyError("limit.reached", `Cannot call ${host}: it took too long to get there`);
      }
      await writeAll(connection.stream, bytes);
      return await readAnswer(connection, request, limits);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof ProxyError) throw error;
      throw new ProxyError("upstream.closed", `Cannot read the answer of ${host}: the connection broke`, {
        cause: error,
      });
    } finally {
      signal.removeEventListener("abort", cut);
      cut();
    }
  };
}

function requestBytes({ method, headers, body }: ProviderRequest, url: URL): Uint8Array {
  const bytes = Buffer.from(body ?? "", "utf8");
  const fields: readonly (readonly [string, string])[] = [
    ["Host", url.host], // without the scheme's own port
    ["User-Agent", "slicer-proxy"], // some providers refuse to answer those who do not say who they are
    ...Object.entries(headers),
    ["Accept-Encoding", "identity"],
    ...(method === "POST" ? [["Content-Length", String(bytes.length)] as const] : []),
    ["Connection", "close"],
  ];
  for (const [name, value] of fields) {
    if (!/^[\x20-\x7e]*$/.test(value)) {
      throw new ProxyError(
        "input.invalid",
        `Cannot call the provider: the value of ${name} is no header text`,
      );
    }
  }
  const head = formatRequestHead({
    method,
    target: url.pathname + url.search,
    version: "HTTP/1.1",
    fields: fields.map(([name, value]) => makeField(name, value)),
  });
  return Buffer.concat([head, bytes]);
}

async function readAnswer(
  connection: UpstreamConnection,
  { method }: ProviderRequest,
  limits: Limits,
): Promise<ProviderResponse> {
  for (let interim = 0; interim <= limits.maxInterimResponses; interim++) {
    const head = await readResponseHead(connection.reader, limits);
    if (head.status < 200) continue;
    const coding = valuesOf(head.fields, "content-encoding").join();
    if (coding !== "" && coding.toLowerCase() !== "identity") {
      throw unusable("it is encoded, and was not to be");
    }
    const isChunked = valuesOf(head.fields, "transfer-encoding").length > 0;
    const raw = await readBody(connection, responseBody(head, method, limits));
    return {
      status: head.status,
      headers: Object.fromEntries(head.fields.map(({ key, value }) => [key, value])),
      body: (isChunked ? dechunk(raw) : raw).toString("utf8"),
    };
  }
  throw unusable("it does not come to an end");
}

/** The body as it came, chunk lines and all. */
async function readBody({ reader }: UpstreamConnection, body: Body): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  while (!body.done) {
    const count = body.take(reader.available);
    if (count > 0) {
      parts.push(reader.available.slice(0, count));
      reader.consume(count);
      if ((size += count) > MAX_BODY_BYTES) throw unusable(`it is larger than ${MAX_BODY_BYTES} bytes`);
    } else if (!await reader.fill()) {
      if (body.closeDelimited) break;
      throw new ProxyError("upstream.closed", "Cannot read the provider's answer: it ended too early");
    }
  }
  return Buffer.concat(parts);
}

function unusable(what: string): ProxyError {
  return new ProxyError("upstream.malformed", `Cannot use the provider's answer: ${what}`);
}
