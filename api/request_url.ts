/**
 * What a request's URL says, read from the text that Deno made of it. `URL` would tidy the path, and what the guard looks
 * at must be what is routed.
 *
 * @module
 */

/**
 * The lower-case authority of a request over TCP, undefined on a socket. Deno makes it from the target, or the Host, or
 * HTTP/2's `:authority`.
 */
export function authorityOf({ url }: Request): string | undefined {
  return /^https?:\/\/([^/?#]*)/i.exec(url)?.[1]?.toLowerCase();
}

/**
 * The path of a request as it was sent, without query. Deno puts the Host between `http+unix://` and the path, and some
 * clients name the socket's path there, slashes and all. Escapes are left for each parameter to decode, so that `%2F`
 * ends no segment.
 */
export function pathOf(request: Request): string {
  const { url } = request;
  const onSocket = `http+unix://${request.headers.get("host")}`;
  const start = url.startsWith(onSocket) ? onSocket.length : url.indexOf("/", url.indexOf("://") + 3);
  return start < 0 ? "" : url.slice(start).split(/[?#]/, 1)[0] ?? "";
}
