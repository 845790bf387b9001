/**
 * Names of fields that most messages have, as they are mostly written: what is known need not be read again, and its key is
 * one string wherever it comes from, which is compared and found by its address.
 *
 * @module
 */

const NAMES = [
  ...["Accept", "Accept-Encoding", "Accept-Language", "Accept-Ranges", "Age", "Alt-Svc", "Authorization"],
  ...[
    "Cache-Control",
    "Connection",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
  ],
  ...[
    "Cookie",
    "Date",
    "ETag",
    "Expect",
    "Expires",
    "Host",
    "If-Modified-Since",
    "If-None-Match",
    "Keep-Alive",
  ],
  ...["Last-Modified", "Location", "Origin", "Pragma", "Proxy-Authorization", "Range", "Referer", "Server"],
  ...[
    "Set-Cookie",
    "Strict-Transport-Security",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "User-Agent",
  ],
  ...["Vary", "Via", "X-Api-Key", "X-Content-Type-Options", "X-Frame-Options", "X-Request-Id"],
] as const;

const KEYS: ReadonlyMap<string, string> = new Map(NAMES.flatMap((name) => {
  const key = name.toLowerCase();
  return [[name, key], [key, key]] as const;
}));

/** The name in lower case, where it is one of these; all of them are tokens, and none has a `_`. */
export function knownKey(name: string): string | undefined {
  return KEYS.get(name);
}
