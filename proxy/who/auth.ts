/**
 * Who is it? The token in a `Proxy-Authorization` header (RFC 9110 §11.7), and the client that it belongs to.
 *
 * Not here: SOCKS credentials (`tunnels/socks.ts`), what the client may do (`policy/`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../../core/errors.ts";
import { type HeaderField, valuesOf } from "../message/fields.ts";
import { latin1 } from "../http1/head_reader.ts";
import type { Client } from "../policy_source.ts";

/**
 * The client that the fields authenticate. `Basic`: the user is ignored, the password is the token (RFC 7617).
 * `Bearer`: the token (RFC 6750).
 *
 * @param clientOf finds it (`token_guesses.ts`); a header that holds no token asks for `""`
 * @throws ProxyError `auth.missing`, what `clientOf` throws, or `client.malformed` for two such headers
 */
export function authenticate(
  fields: readonly HeaderField[],
  clientOf: (token: string) => Client,
): Client {
  const [credentials, ...more] = valuesOf(fields, "proxy-authorization");
  if (more.length > 0) {
    throw new ProxyError(
      "client.malformed",
      "Cannot tell who is asking: more than one Proxy-Authorization header",
    );
  }
  if (credentials === undefined) {
    throw new ProxyError("auth.missing", "Cannot tell who is asking: no Proxy-Authorization header", {
      reason: "auth-missing",
    });
  }
  return clientOf(parseToken(credentials) ?? "");
}

/** The token in the value of a `Proxy-Authorization` header, or undefined when its scheme or form is another. */
export function parseToken(credentials: string): string | undefined {
  const match = /^(basic|bearer) +([A-Za-z0-9\-._~+/]+=*)$/i.exec(credentials);
  if (!match) return undefined;
  const [, scheme = "", value = ""] = match;
  if (scheme.toLowerCase() === "bearer") return value;
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(value)) return undefined;
  const pair = latin1(Buffer.from(value, "base64"));
  const colon = pair.indexOf(":");
  return colon < 0 ? undefined : pair.slice(colon + 1);
}
