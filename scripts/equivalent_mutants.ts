/**
 * Mutants that were looked at and change nothing that anybody could see, each with the reason. They are listed and not
 * counted. A row is named by the file, the line as it stands there, and what became what; when the line changes, the row no
 * longer fits and the mutant counts again.
 *
 * @module
 */
import type { Mutant } from "./mutants.ts";

/** See each field. */
export interface Equivalent {
  readonly file: string;
  /** The source line, without blanks at its ends. */
  readonly at: string;
  readonly about: string;
  readonly why: string;
}

export const EQUIVALENT: readonly Equivalent[] = [
  {
    file: "proxy/egress/tls/certificate_look.ts",
    at: 'opened.once("close", () => reject(new Error("closed in the handshake")));',
    about: 'opened.once("close", () => reject(new Error("closed in the handshak… ⇒ ;',
    why: "of a handshake that ends early there is an error too",
  },
  {
    file: "proxy/tls/loopback.ts",
    at: "if (this.#latest !== listed) {",
    about: "this.#latest !== listed ⇒ true",
    why: "put last once more, the last one is where it was",
  },
  {
    file: "proxy/tls/loopback.ts",
    at: "closeQuietly(tls);",
    about: "closeQuietly(tls); ⇒ ;",
    why: "the link that is ended next closes it too",
  },
  {
    file: "proxy/tls/loopback.ts",
    at: "if (!this.#waiting.delete(key)) promise.then(closeQuietly);",
    about: "!this.#waiting.delete(key) ⇒ true",
    why: "nobody ends a link before it was accepted or lost, and who saw its handshake fail has closed it",
  },
  {
    file: "proxy/tls/loopback.ts",
    at: "if (!this.#waiting.delete(key)) promise.then(closeQuietly);",
    about: "!this.#waiting.delete(key) ⇒ false",
    why: "nobody ends a link before it was accepted or lost, and who saw its handshake fail has closed it",
  },
  {
    file: "proxy/tls/loopback.ts",
    at: "if (!this.#waiting.delete(key)) promise.then(closeQuietly);",
    about: "!this.#waiting.delete(key) ⇒ this.#waiting.delete(key)",
    why: "nobody ends a link before it was accepted or lost, and who saw its handshake fail has closed it",
  },
  {
    file: "proxy/tls/loopback.ts",
    at: "if (!this.#waiting.delete(key)) promise.then(closeQuietly);",
    about: "promise.then(closeQuietly); ⇒ ;",
    why: "who saw the handshake fail has closed it",
  },
  {
    file: "proxy/egress/pools/idle_times.ts",
    at: "const { announcedMs = Infinity, openMs = 0 } = this.#get(place, nowMs) ?? {};",
    about: "openMs = 0 ⇒ 1",
    why: "a second is taken off it, and what is less is no more than nothing",
  },
  {
    file: "proxy/egress/pools/idle_times.ts",
    at: "const { announcedMs = Infinity, closedMs = Infinity, openMs = 0 } = this.#get(place) ?? {};",
    about: "openMs = 0 ⇒ 1",
    why: "a millisecond says no more than nothing: a second is taken off it",
  },
  {
    file: "proxy/egress/names/exchange.ts",
    at: "return crypto.getRandomValues(new Uint16Array(1))[0] ?? 0;",
    about: "crypto.getRandomValues(new Uint16Array(1))[0] ?? 0 ⇒ 1",
    why: "there is one: the types do not know",
  },
  {
    file: "proxy/egress/names/exchange.ts",
    at: "return crypto.getRandomValues(new Uint16Array(1))[0] ?? 0;",
    about: "new Uint16Array(1) ⇒ 2",
    why: "of two random numbers the first is as good as of one",
  },
  {
    file: "proxy/tunnels/tunnel.ts",
    at: "if (this.#watch.isDone) return await super.read(into);",
    about: "this.#watch.isDone ⇒ false",
    why: "the same bytes, by way of the reader",
  },
  {
    file: "proxy/tunnels/tunnel.ts",
    at: "if (count !== null && !this.#watch.isDone) this.#watch.answered(into.subarray(0, count));",
    about: "count !== null && !this.#watch.isDone ⇒ true",
    why: "no bytes say nothing new, and a watch that is done stays so",
  },
  {
    file: "proxy/tunnels/tunnel.ts",
    at: "if (count !== null && !this.#watch.isDone) this.#watch.answered(into.subarray(0, count));",
    about: "count !== null && !this.#watch.isDone ⇒ ||",
    why: "no bytes say nothing new, and a watch that is done stays so",
  },
  {
    file: "proxy/egress/tls/certificate_look.ts",
    at: "isLate = true;",
    about: "isLate = true ⇒ false",
    why: "for Deno 2.7: in 2.9 a handshake that was cut has failed",
  },
  {
    file: "proxy/egress/tls/certificate_look.ts",
    at: "if (isLate) return undefined; // Deno 2.7 takes the end of a connection for that of the handshake",
    about: "isLate ⇒ false",
    why: "for Deno 2.7: in 2.9 a handshake that was cut has failed",
  },
  {
    file: "proxy/egress/tls/certificate_dial.ts",
    at:
      'if (isLate || signal.aborted) throw new Error("cut in the handshake"); // which Deno 2.7 may take for done',
    about: "isLate || signal.aborted ⇒ false",
    why: "for Deno 2.7: in 2.9 a handshake that was cut has failed",
  },
  {
    file: "proxy/egress/tls/certificate_dial.ts",
    at:
      'if (isLate || signal.aborted) throw new Error("cut in the handshake"); // which Deno 2.7 may take for done',
    about: "isLate || signal.aborted ⇒ &&",
    why: "for Deno 2.7: in 2.9 a handshake that was cut has failed",
  },
  {
    file: "proxy/egress/tls/certificate_dial.ts",
    at:
      'if (isLate || signal.aborted) throw new Error("cut in the handshake"); // which Deno 2.7 may take for done',
    about: 'throw new Error("cut in the handshake"); ⇒ ;',
    why: "for Deno 2.7: in 2.9 a handshake that was cut has failed",
  },
  {
    file: "proxy/http2/body_queue.ts",
    at: "const SMALLEST_CHUNK = 1_024;",
    about: "SMALLEST_CHUNK = 1_024 ⇒ 1025",
    why: "how much is allocated at least is no promise to the byte",
  },
  {
    file: "policy/denial_tally.ts",
    at: "lastMs: Math.max(known?.lastMs ?? 0, timeMs),",
    about: "known?.lastMs ?? 0 ⇒ 1",
    why: "no record is of the first millisecond of 1970",
  },
  {
    file: "proxy/http1/head_reader.ts",
    at: "while (end > start && isOws(text.charCodeAt(end - 1))) end--;",
    about: "end > start ⇒ >=",
    why: "of a text of blanks alone nothing is left either way",
  },
  {
    file: "proxy/http1/pulled_body.ts",
    at: "if (this.done || size === 0 || size > COALESCE_BYTES) return NOTHING;",
    about: "size > COALESCE_BYTES ⇒ >=",
    why: "whether the head and just so large a piece go in one write or in two changes no byte",
  },
  {
    file: "proxy/message/method_parameter.ts",
    at: "if (equals < 0) return false;",
    about: "equals < 0 ⇒ <=",
    why: "a pair that begins with = has an empty name, which is not _method",
  },
  {
    file: "proxy/http2/field.ts",
    at: "if (this.#fault === null) this.#fault = fieldFault(this.key, this.value);",
    about: "this.#fault === null ⇒ true",
    why: "found out again it is the same; only the time that it takes is another",
  },
  {
    file: "proxy/http2/hpack_encoder.ts",
    at: "if (text.length > 24) {",
    about: "text.length > 24 ⇒ >=",
    why: "both ways write the same bytes",
  },
  {
    file: "proxy/http2/hpack_encoder.ts",
    at: "if (text.length > 24) {",
    about: "text.length > 24 ⇒ 25",
    why: "both ways write the same bytes",
  },
  {
    file: "proxy/http2/hpack_encoder.ts",
    at: "if (text.length > 24) {",
    about: "text.length > 24 ⇒ true",
    why: "both ways write the same bytes",
  },
  {
    file: "proxy/http2/hpack_encoder.ts",
    at: "if (text.length > 24) {",
    about: "text.length > 24 ⇒ false",
    why: "both ways write the same bytes",
  },
  {
    file: "proxy/http2/output.ts",
    at: "buffer[at] = length >>> 16;",
    about: "length >>> 16 ⇒ 17",
    why: "no frame of ours has more than 16,384 bytes",
  },
  {
    file: "proxy/http2/huffman.ts",
    at: "const entry = SHORT_CODES[bits >>> (count - 8) & 0xff] ?? 0;",
    about: "SHORT_CODES[bits >>> (count - 8) & 0xff] ?? 0 ⇒ 1",
    why: "the table has an entry for each of 256 numbers",
  },
  {
    file: "proxy/streams/byte_reader.ts",
    at: "} else if (this.#buffer.length - this.#end < 1_024) {",
    about: "this.#buffer.length - this.#end < 1_024 ⇒ 1025",
    why: "whether just so much room is enough for the next read changes no byte",
  },
  {
    file: "store/folder.ts",
    at: "this.isNew = false;",
    about: "this.isNew = false ⇒ true",
    why: "nobody asks once the database is complete",
  },
  {
    file: "proxy/streams/byte_reader.ts",
    at: "if (this.#buffer.length !== this.#nextSize) this.#replace(new Uint8Array(this.#nextSize));",
    about: "this.#buffer.length !== this.#nextSize ⇒ true",
    why: "whether an empty buffer of the same size is used again changes no byte",
  },
  {
    file: "store/writer.ts",
    at: "if (now < this.#nextExpiryMs) return;",
    about: "now < this.#nextExpiryMs ⇒ false",
    why: "only saves looking at all rules that end",
  },
  {
    file: "store/writer.ts",
    at: "if (written.size === 0) return;",
    about: "written.size === 0 ⇒ false",
    why: "only saves looking at all rows that wait to be swept",
  },
  {
    file: "policy/path.ts",
    at:
      'if (!path.includes("%")) return (pattern) => covers(upperEscapes(pattern), path); // as most are, and quicker',
    about: '!path.includes("%") ⇒ false',
    why: "the long way gives the same, and takes longer",
  },
  {
    file: "policy/path.ts",
    at: "if (!UNUSUAL.test(path)) return path; // as most are, and quicker",
    about: "!UNUSUAL.test(path) ⇒ false",
    why: "the long way gives the same, and takes longer",
  },
  {
    file: "policy/path.ts",
    at: "if (!/\\/\\.{1,2}(?:\\/|$)/.test(path)) return path; // as most are, and quicker",
    about: "!/\\/\\.{1,2}(?:\\/|$)/.test(path) ⇒ false",
    why: "the long way gives the same, and takes longer",
  },
  {
    file: "store/writer.ts",
    at: "if (this.#meaninglessRows.length === 0) return; // a change of 100,000 rules need not look at each",
    about: "this.#meaninglessRows.length === 0 ⇒ false",
    why: "the long way gives the same, and takes longer",
  },
  {
    file: "policy/words/media_type.ts",
    at: 'const [type = "", ...parameters] = value.split(";", 8).map((part) => part.trim().toLowerCase());',
    about: 'value.split(";", 8) ⇒ 9',
    why: "what is beyond is not used; the bound keeps the work with long texts small",
  },
  {
    file: "policy/words/query.ts",
    at: 'const [text = ""] = value.split("\\0", 1);',
    about: 'value.split("\\0", 1) ⇒ 2',
    why: "what is beyond is not used; the bound keeps the work with long texts small",
  },
  {
    file: "policy/words/query.ts",
    at: 'const [text = ""] = (name.includes("%") ? decode(name) : name).split(/[[\\0]/, 1);',
    about: '(name.includes("%") ? decode(name) : name).split(/[[\\0]/, 1) ⇒ 2',
    why: "what is beyond is not used; the bound keeps the work with long texts small",
  },
  {
    file: "policy/placeholder.ts",
    at: "return path.replace(/%7B%7D/gi, SEGMENT_PLACEHOLDER).split(SEGMENT_PLACEHOLDER, 3).length === 2;",
    about: "path.replace(/%7B%7D/gi, SEGMENT_PLACEHOLDER).split(SEGMENT_PLACEHO… ⇒ 4",
    why: "what is beyond is not used; the bound keeps the work with long texts small",
  },
  {
    file: "proxy/echo/masked_socket.ts",
    at: "body.release();",
    about: "body.release(); ⇒ ;",
    why: "a socket's body holds nothing back; it is what every body asks for",
  },
  {
    file: "policy/decide.ts",
    at: "JSON.stringify([rule.host, rule.secret, rule.passthrough, isLimited(rule), wordsOf(rule)]);",
    about: "rule.passthrough ⇒ ...[]",
    why: "one that passes through limits nothing, so that it is the first for no reading or for all",
  },
  {
    file: "proxy/echo/content.ts",
    at: "if ((rising[middle] ?? 0) > least) high = middle;",
    about: "rising[middle] ?? 0 ⇒ 1",
    why: "the middle is a place of the list",
  },
  {
    file: "proxy/echo/content.ts",
    at: "return span ? span.end - ((ends[which] ?? 0) - index) : bytes.length;",
    about: "ends[which] ?? 0 ⇒ 1",
    why: "where there is a span there is its end",
  },
  {
    file: "proxy/echo/search.ts",
    at: "this.#overlap = Math.max(1, needles.longest);",
    about: "Math.max(1, needles.longest) ⇒ 2",
    why: "of what cannot be a text more may be kept",
  },
  {
    file: "proxy/echo/masked_socket.ts",
    at: "const READ_BYTES = 65_536;",
    about: "READ_BYTES = 65_536 ⇒ 65537",
    why: "how much is read at once changes no byte",
  },
  {
    file: "proxy/echo/masked_socket.ts",
    at: "readonly closeDelimited = true;",
    about: "readonly closeDelimited = true; ⇒ false",
    why: "nobody asks a socket how its body ends",
  },
  {
    file: "proxy/echo/masked_socket.ts",
    at: "this.#head.push(bytes[at++] ?? 0);",
    about: "bytes[at++] ?? 0 ⇒ 1",
    why: "the byte is there: the loop ends with the bytes",
  },
  {
    file: "proxy/inject/aws_signing.ts",
    at: "const { signature: { service, region, signedAtMs = 0, expiresS = 1 } } = this.#request;",
    about: "signedAtMs = 0 ⇒ 1",
    why: "a presigned URL has its time, or is refused where it is read",
  },
  {
    file: "proxy/inject/aws_signing.ts",
    at: "const { signature: { service, region, signedAtMs = 0, expiresS = 1 } } = this.#request;",
    about: "expiresS = 1 ⇒ 2",
    why: "as for its time",
  },
  {
    file: "secrets/aws/chunks.ts",
    at: "if (lf < 0) return -1;",
    about: "-1 ⇒ 2",
    why: "whoever asks looks for a number below 0",
  },
  {
    file: "secrets/fields.ts",
    at: 'const time = isDate ? Date.parse(value.replace(/(\\.\\d{3})\\d+/, "$1")) : this.number(name) ?? 0;',
    about: "this.number(name) ?? 0 ⇒ 1",
    why: "the field is there",
  },
  {
    file: "store/seal_key.ts",
    at: "const READ_BYTES = 128;",
    about: "READ_BYTES = 128 ⇒ 129",
    why: "a key has 66 bytes at most, and a longer file is none however much of it is read",
  },
  {
    file: "store/seal_key.ts",
    at: "text = new TextDecoder().decode(buffer.subarray(0, await file.read(buffer) ?? 0));",
    about: "await file.read(buffer) ?? 0 ⇒ 1",
    why: "of an empty file one byte is as little a key as none",
  },
  {
    file: "policy/match.ts",
    at: "let bestScore = 0;",
    about: "bestScore = 0 ⇒ 1",
    why: "no rule scores 1",
  },
  {
    file: "policy/match.ts",
    at:
      "? 1_000 - DIMENSIONS.length * missed.length + first // above any count of shared labels (127 at most)",
    about: "1_000 - DIMENSIONS.length * missed.length ⇒ 1001",
    why: "only which score is greater counts",
  },
  {
    file: "policy/hidden_dots.ts",
    at: "if (!isOdd(decoded)) return false;",
    about: "!isOdd(decoded) ⇒ false",
    why: "the long way gives the same, and takes longer",
  },
  {
    file: "policy/path.ts",
    at: 'if (!path.includes("%")) return path;',
    about: '!path.includes("%") ⇒ false',
    why: "a path without escapes has none to write otherwise; it only takes longer",
  },
  {
    file: "policy/path.ts",
    at: "if (!UNUSUAL.test(path)) return readings;",
    about: "!UNUSUAL.test(path) ⇒ false",
    why: "each reading of a usual path is the path itself; it only takes longer",
  },
  {
    file: "policy/path_stars.ts",
    at: 'const segments = path.split("/", wanted.length + 1);',
    about: "wanted.length + 1 ⇒ 2",
    why: "one segment too many is enough to see",
  },
  {
    file: "policy/words/body_text.ts",
    at: "for (let at = 0; at < text.length; at++) {",
    about: "at < text.length ⇒ <=",
    why: "behind the end is no sign",
  },
  {
    file: "policy/words/body_text.ts",
    at: `while (at < text.length && text[at] !== '"') at += text[at] === "\\\\" ? 2 : 1;`,
    about: "at < text.length ⇒ <=",
    why: "each string of a JSON text ends",
  },
  {
    file: "policy/words/graphql.ts",
    at: "document = parse(text, { noLocation: true, maxTokens: MAX_TOKENS });",
    about: "noLocation: true ⇒ false",
    why: "nobody looks at locations, which only take memory",
  },
  {
    file: "policy/suggest.ts",
    at: "if (paths.length === 0) continue;",
    about: "paths.length === 0 ⇒ false",
    why: "a rule without paths has no request, so that it is not proposed",
  },
  {
    file: "policy/tokens/usage_reader.ts",
    at: "const MAX_KEY_CHARS = 40;",
    about: "MAX_KEY_CHARS = 40 ⇒ 41",
    why: "any number above the longest member that matters does",
  },
  {
    file: "policy/tokens/usage_reader.ts",
    at: "else if (this.#name.length < 8) this.#name += char;",
    about: "this.#name.length < 8 ⇒ <=",
    why: "any number above the longest name that matters does",
  },
  {
    file: "policy/tokens/usage_reader.ts",
    at: "else if (this.#name.length < 8) this.#name += char;",
    about: "this.#name.length < 8 ⇒ 9",
    why: "any number above the longest name that matters does",
  },
  {
    file: "policy/yaml_tree.ts",
    at: "if ((this.#lineStarts[middle] ?? 0) <= at) low = middle;",
    about: "this.#lineStarts[middle] ?? 0 ⇒ 1",
    why: "a line between two that are there is there",
  },
  {
    file: "policy/yaml_tree.ts",
    at: "const at = error.mark?.position ?? 0;",
    about: "error.mark?.position ?? 0 ⇒ 1",
    why: "the parser says the place of each of its errors",
  },
  {
    file: "secrets/aws/query.ts",
    at: 'if (query === "") return pairs;',
    about: 'query === "" ⇒ false',
    why: "its one part is empty, and is left out",
  },
  {
    file: "secrets/aws/query.ts",
    at: 'const parts = query.split("&", MAX_PAIRS + 1);',
    about: "MAX_PAIRS + 1 ⇒ 2",
    why: "one too many is too many; the bound keeps the work small",
  },
  {
    file: "proxy/http1/body_text.ts",
    at: 'const size = end < 0 ? 0 : parseInt(raw.toString("latin1", at, end), 16);',
    about: "end < 0 ⇒ <=",
    why: "an empty line has no size either",
  },
  {
    file: "proxy/http1/body_text.ts",
    at: 'const size = end < 0 ? 0 : parseInt(raw.toString("latin1", at, end), 16);',
    about: "end < 0 ⇒ 1",
    why: "an empty line has no size either",
  },
  {
    file: "proxy/http1/head_writer.ts",
    at:
      'if (read !== text.length || written !== text.length) Buffer.from(into.buffer).write(text, "latin1");',
    about: "read !== text.length || written !== text.length ⇒ true",
    why: "what is ASCII is the same bytes; only the time that it takes is another",
  },
  {
    file: "secrets/kind_mtls.ts",
    at: "const length = der[at + 1] ?? 0;",
    about: "der[at + 1] ?? 0 ⇒ 1",
    why: "what was read as a certificate does not end so early",
  },
  {
    file: "secrets/kind_mtls.ts",
    at: "return at + 2 + (length > 0x80 ? length & 0x7f : 0);",
    about: "length > 0x80 ⇒ >=",
    why: "0x80 has no more bytes of a length, and is none of DER's",
  },
  {
    file: "secrets/aws/fault.ts",
    at: 'const code = found?.slice(found.lastIndexOf("#") + 1).split(":", 1)[0];',
    about: 'found?.slice(found.lastIndexOf("#") + 1).split(":", 1) ⇒ 2',
    why: "what is beyond is not used",
  },
  {
    file: "secrets/source_file.ts",
    at: "const bytes = new Uint8Array(MAX_BYTES + 1);",
    about: "MAX_BYTES + 1 ⇒ 2",
    why: "one too many is too many",
  },
  {
    file: "store/seal_key.ts",
    at: "if (((info.mode ?? 0) & 0o077) !== 0) {",
    about: "info.mode ?? 0 ⇒ 1",
    why: "the systems that it runs on say the mode of a file",
  },
  {
    file: "store/seal_key.ts",
    at: "return await loadSealKey(nextKeyPath(path), false);",
    about: "loadSealKey(nextKeyPath(path), false) ⇒ true",
    why: "the key was made a line before",
  },
  {
    file: "store/seal_key.ts",
    at: "there?.fill(0);",
    about: "there?.fill(0) ⇒ 1",
    why: "the key is gone from memory whatever is in its place",
  },
  {
    file: "store/secrets.ts",
    at: 'if (host === "*" || (host.startsWith("*.") && !host.slice(2).includes("."))) {',
    about: "host.slice(2) ⇒ 3",
    why: "behind *. no pattern has another dot",
  },
  {
    file: "store/audit/lines.ts",
    at: "for (let at = isWithin ? start - 1 : 0; at < end;) {",
    about: "at < end ⇒ <=",
    why: "a block of no bytes ends it as well",
  },
  {
    file: "store/state.ts",
    at: "let latest = 0;",
    about: "latest = 0 ⇒ 1",
    why: "no clock stands before the first millisecond of 1970",
  },
  {
    file: "store/migrate.ts",
    at: "const [clients = 0, rules = 0, secrets = 0, cas = 0] = counts;",
    about: "clients = 0 ⇒ 1",
    why: "there is a count of each prefix; only the compiler does not know",
  },
  {
    file: "store/migrate.ts",
    at: "const [clients = 0, rules = 0, secrets = 0, cas = 0] = counts;",
    about: "rules = 0 ⇒ 1",
    why: "there is a count of each prefix; only the compiler does not know",
  },
  {
    file: "store/migrate.ts",
    at: "const [clients = 0, rules = 0, secrets = 0, cas = 0] = counts;",
    about: "secrets = 0 ⇒ 1",
    why: "there is a count of each prefix; only the compiler does not know",
  },
  {
    file: "store/migrate.ts",
    at: "const [clients = 0, rules = 0, secrets = 0, cas = 0] = counts;",
    about: "cas = 0 ⇒ 1",
    why: "there is a count of each prefix; only the compiler does not know",
  },
  {
    file: "store/changes/secrets.ts",
    at: "{ name, lease, leaseUntil = 0 }: SecretRecord,",
    about: "leaseUntil = 0 ⇒ 1",
    why: "a lease without an end has ended, whatever the store's clock says",
  },
  {
    file: "store/view.ts",
    at: ".sort((a, b) => a.hostgroup < b.hostgroup ? -1 : 1);",
    about: "a.hostgroup < b.hostgroup ⇒ <=",
    why: "no two CAs are of one host group",
  },
  {
    file: "store/view.ts",
    at: "return a.name < b.name ? -1 : 1;",
    about: "a.name < b.name ? -1 : 1 ⇒ 2",
    why: "any number above 0 sorts alike",
  },
  {
    file: "store/view.ts",
    at: "return a.name < b.name ? -1 : 1;",
    about: "-1 ⇒ 2",
    why: "any number below 0 sorts alike",
  },
  {
    file: "store/audit/file.ts",
    at: "const last = new Uint8Array(1);",
    about: "new Uint8Array(1) ⇒ 2",
    why: "behind the last byte there is none to read",
  },
  {
    file: "proxy/accept/admission.ts",
    at: "isDone = true;",
    about: "isDone = true ⇒ false",
    why: "each of the two gives back once by itself",
  },
  {
    file: "store/kv.ts",
    at: "#hasResealed = false;",
    about: "#hasResealed = false; ⇒ true",
    why: "a look at what a rotation left finds nothing",
  },
  {
    file: "store/kv.ts",
    at: "for await (const { key, value } of this.#kv.list({ prefix }, { batchSize: 500 })) {",
    about: "batchSize: 500 ⇒ 501",
    why: "the rows are the same however many are read at once",
  },
  {
    file: "store/kv.ts",
    at: "if (last && last.length < RESEAL_ROWS && bytes <= RESEAL_BYTES) last.push(row);",
    about: "bytes <= RESEAL_BYTES ⇒ <",
    why: "half of what a commit takes is no promise to the byte",
  },
  {
    file: "store/kv.ts",
    at: "if (last && last.length < RESEAL_ROWS && bytes <= RESEAL_BYTES) last.push(row);",
    about: "last.length < RESEAL_ROWS ⇒ <=",
    why: "500 rows and their 500 deletions are just what a commit takes",
  },
  {
    file: "store/fleet/copy_keeper.ts",
    at: "for (let at = 0; at < rows.length && isWanted(); at += ROWS_AT_ONCE) {",
    about: "at < rows.length ⇒ <=",
    why: "a batch without rows adds nothing when they are joined",
  },
  {
    file: "store/fleet/copy_keeper.ts",
    at: "const ROWS_AT_ONCE = 250;",
    about: "ROWS_AT_ONCE = 250 ⇒ 251",
    why: "how long others wait is no promise to the row",
  },
  {
    file: "store/fleet/copy_keeper.ts",
    at: "#generation = 0;",
    about: "#generation = 0; ⇒ 1",
    why: "it is only compared with what it was before",
  },
  {
    file: "store/fleet/fleet.ts",
    at: "if (!this.#isClosed) await this.#uplink.rest(POLL_MS);",
    about: "!this.#isClosed ⇒ true",
    why: "who stops wakes the uplink, which then does not rest",
  },
  {
    file: "store/fleet/fleet.ts",
    at: "const SPREAD_LOOK_MS = [2, 5, 10, 20, 40, 80, 100];",
    about: "100 ⇒ ...[]",
    why: "behind the list each pause is of 100 ms as well",
  },
  {
    file: "store/fleet/host_figures.ts",
    at: 'return typeof value === "number" && value > 0 ? Math.min(Math.floor(value), MAX_FIGURE) : 0;',
    about: "value > 0 ⇒ >=",
    why: "of nothing it is nothing either way",
  },
  {
    file: "store/postgres/reseal.ts",
    at: "encodeBatch([{ key: [SEAL_KIND], value: { keyId } }], 0),",
    about: "encodeBatch([{ key: [SEAL_KIND], value: { keyId } }], 0) ⇒ 1",
    why: "the row has no end that would be shifted",
  },
  {
    file: "proxy/server.ts",
    at: "this.#isClosed = true;",
    about: "this.#isClosed = true ⇒ false",
    why: "closing again throws, which is caught: only the time that it takes is another",
  },
  {
    file: "proxy/http2/body_queue.ts",
    at: "if (at === out.length) break; // of a window full of small frames there are thousands",
    about: "at === out.length ⇒ false",
    why: "of the chunks behind nothing is taken; it only takes longer",
  },
  {
    file: "policy/path_groups.ts",
    at: 'return path.split("/", MAX_SEGMENTS + 2).length <= MAX_SEGMENTS + 1;',
    about: "MAX_SEGMENTS + 2 ⇒ 3",
    why: "one segment too many is enough to see; the bound keeps the work with long paths small",
  },
  {
    file: "policy/words/graphql.ts",
    at: "for (let at = 0; at < text.length; at++) {",
    about: "at < text.length ⇒ <=",
    why: "behind the end is no bracket",
  },
  {
    file: "policy/hidden_dots.ts",
    at: "let empty = 0;",
    about: "empty = 0 ⇒ 1",
    why: "only which count is greater matters, and both begin with it",
  },
  {
    file: "secrets/kind_mtls.ts",
    at:
      'const CURVES: ReadonlySet<string> = new Set(["prime256v1", "P-256", "p256", "secp384r1", "P-384", "p384"]);',
    about: '"P-256" ⇒ ...[]',
    why: "a Deno of another version says it so",
  },
  {
    file: "secrets/kind_mtls.ts",
    at:
      'const CURVES: ReadonlySet<string> = new Set(["prime256v1", "P-256", "p256", "secp384r1", "P-384", "p384"]);',
    about: '"p256" ⇒ ...[]',
    why: "a Deno of another version says it so",
  },
  {
    file: "secrets/kind_mtls.ts",
    at:
      'const CURVES: ReadonlySet<string> = new Set(["prime256v1", "P-256", "p256", "secp384r1", "P-384", "p384"]);',
    about: '"P-384" ⇒ ...[]',
    why: "a Deno of another version says it so",
  },
  {
    file: "secrets/kind_mtls.ts",
    at:
      'const CURVES: ReadonlySet<string> = new Set(["prime256v1", "P-256", "p256", "secp384r1", "P-384", "p384"]);',
    about: '"p384" ⇒ ...[]',
    why: "a Deno of another version says it so",
  },
  {
    file: "secrets/signing_key.ts",
    at: "const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;",
    about: "key.asymmetricKeyDetails?.modulusLength ?? 0 ⇒ 1",
    why: "one bit is too few as well",
  },
  {
    file: "secrets/signing_key.ts",
    at: 'const imported = await crypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);',
    about: 'crypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]) ⇒ true',
    why: "nobody but these lines gets hold of it",
  },
  {
    file: "proxy/echo/watched_body.ts",
    at: "const isWaiting = !this.#isAllSeen && (this.#search.pending > 0 || this.#plain.pending > 0) &&",
    about: "this.#search.pending > 0 ⇒ 1",
    why: "a beginning counts from its fourth letter on",
  },
  {
    file: "proxy/echo/watched_body.ts",
    at: "const isWaiting = !this.#isAllSeen && (this.#search.pending > 0 || this.#plain.pending > 0) &&",
    about: "this.#plain.pending > 0 ⇒ 1",
    why: "a beginning counts from its fourth letter on",
  },
  {
    file: "secrets/credentials.ts",
    at: "if (known) this.#end(name);",
    about: "known ⇒ true",
    why: "of a login that is not there nothing is ended",
  },
  {
    file: "proxy/inject/echo_watch.ts",
    at: "KNOWN.set(credential, needles);",
    about: "KNOWN.set(credential, needles); ⇒ ;",
    why: "what is made anew is the same; it only takes longer",
  },
  {
    file: "secrets/credentials.ts",
    at: "ending.finally(() => this.#ending.delete(ending));",
    about: "ending.finally(() => this.#ending.delete(ending)); ⇒ ;",
    why: "what is over is waited for in no time; only the memory is another",
  },
  {
    file: "proxy/decide/budgets.ts",
    at: "if (this.countsTokens) this.#untoldBytes ??= 0;",
    about: "this.countsTokens ⇒ true",
    why: "tokens without a budget of them are counted nowhere",
  },
  {
    file: "secrets/kind_mtls.ts",
    at: 'const { modulusLength = 0, namedCurve = "" } = details;',
    about: "modulusLength = 0 ⇒ 1",
    why: "one bit is too few as well",
  },
  {
    file: "secrets/refresh.ts",
    at: "#isUsed = false;",
    about: "#isUsed = false; ⇒ true",
    why: "without a token nothing is renewed by itself, and each token is unused at first",
  },
  {
    file: "secrets/refresh.ts",
    at: ": Math.max(failure.retryAfterMs ?? 0, waitMs * (1 - JITTER * random())));",
    about: "failure.retryAfterMs ?? 0 ⇒ 1",
    why: "each wait is longer",
  },
  {
    file: "secrets/aws/signer.ts",
    at: 'throw new TypeError("a hash is used once");',
    about: 'throw new TypeError("a hash is used once"); ⇒ ;',
    why: "the library makes a hash for each use, and asks none for another",
  },
  {
    file: "secrets/aws/chunks.ts",
    at: "if (lineEnd < 0) return this.#waitFor(bytes.length + 1);",
    about: "bytes.length + 1 ⇒ -",
    why: "looking again before there is more finds the same; it only takes longer",
  },
  {
    file: "secrets/aws/client_signature.ts",
    at: "const scheme = space < 0 ? value : value.slice(0, space);",
    about: "space < 0 ⇒ <=",
    why: "what begins with a space is no scheme that is known, with it or without",
  },
  {
    file: "secrets/aws/client_signature.ts",
    at: "const name = text.slice(0, Math.max(0, equals));",
    about: "Math.max(0, equals) ⇒ 1",
    why: "a part without a name is one too many or one too few, whatever it is called",
  },
  {
    file: "secrets/aws/client_signature.ts",
    at: 'const names = text?.split(";", MAX_SIGNED_HEADERS + 1) ?? [];',
    about: "MAX_SIGNED_HEADERS + 1 ⇒ 2",
    why: "one too many is too many",
  },
  {
    file: "proxy/forward/relay.ts",
    at: "if (turn) await turn;",
    about: "turn ⇒ true",
    why: "to wait for nothing ends at once",
  },
  {
    file: "proxy/forward/upload.ts",
    at: "if (turn) await turn;",
    about: "turn ⇒ true",
    why: "to wait for nothing ends at once",
  },
  {
    file: "proxy/streams/splice.ts",
    at: "if (turn) await turn;",
    about: "turn ⇒ true",
    why: "to wait for nothing ends at once",
  },
  {
    file: "proxy/forward/forward.ts",
    at: "const { sent = 0, received = 0 } = this.#measures();",
    about: "sent = 0 ⇒ 1",
    why: "what was measured says both",
  },
  {
    file: "proxy/forward/forward.ts",
    at: "const { sent = 0, received = 0 } = this.#measures();",
    about: "received = 0 ⇒ 1",
    why: "what was measured says both",
  },
  {
    file: "proxy/forward/token_watch.ts",
    at: "else if (this.#reader && !this.#decoder && spans.length > 0) {",
    about: "spans.length > 0 ⇒ >=",
    why: "of no text nothing new is said",
  },
  {
    file: "proxy/http1/head_reader.ts",
    at: "while (start < end && isOws(text.charCodeAt(start))) start++;",
    about: "start < end ⇒ <=",
    why: "behind the end is no blank",
  },
  {
    file: "proxy/http1/request.ts",
    at: "const wholeAt = isTls ? 0 : this.#wholeAt ??= performance.now();",
    about: "isTls ? 0 : this.#wholeAt ??= performance.now() ⇒ 1",
    why: "within TLS nobody may half-close, and the time is not looked at",
  },
  {
    file: "proxy/http2/hpack.ts",
    at: "let scratch = Buffer.allocUnsafeSlow(4_096);",
    about: "Buffer.allocUnsafeSlow(4_096) ⇒ 4097",
    why: "a larger one is made where it is too small",
  },
  {
    file: "proxy/http2/huffman.ts",
    at: "for (let length = 0, code = 0, index = 0; length <= LONGEST; length++, code *= 2) {",
    about: "length = 0 ⇒ 1",
    why: "no code has no bits",
  },
  {
    file: "proxy/http2/huffman.ts",
    at: "for (let length = 9; length <= LONGEST && length <= count; length++) {",
    about: "length = 9 ⇒ 10",
    why: "no code has nine bits",
  },
  {
    file: "proxy/http2/huffman.ts",
    at: "SHORT_CODES.fill((SYMBOLS[index] ?? 0) << 4 | length, first, first + (1 << (8 - length)));",
    about: "SYMBOLS[index] ?? 0 ⇒ 1",
    why: "there are as many symbols as codes",
  },
  {
    file: "proxy/http2/huffman.ts",
    at: "return HUFFMAN_LENGTHS[symbol] ?? 0;",
    about: "HUFFMAN_LENGTHS[symbol] ?? 0 ⇒ 1",
    why: "each symbol has its length",
  },
  {
    file: "proxy/http2/huffman.ts",
    at: "bits = bits << 8 | (bytes[at++] ?? 0);",
    about: "bytes[at++] ?? 0 ⇒ 1",
    why: "the byte is there: the loop ends with the bytes",
  },
  {
    file: "proxy/http2/huffman.ts",
    at: "const entry = SHORT_CODES[padded] ?? 0;",
    about: "SHORT_CODES[padded] ?? 0 ⇒ 1",
    why: "the table has an entry for each of 256 numbers",
  },
  {
    file: "proxy/http2/huffman.ts",
    at: "wide = wide * 256 + (bytes[at++] ?? 0);",
    about: "bytes[at++] ?? 0 ⇒ 1",
    why: "the byte is there: the loop ends with the bytes",
  },
  {
    file: "proxy/http2/huffman.ts",
    at: "const offset = Math.floor(bits / 2 ** (count - length)) - (FIRST_CODE[length] ?? 0);",
    about: "FIRST_CODE[length] ?? 0 ⇒ 1",
    why: "the table has an entry for each length",
  },
  {
    file: "proxy/http2/huffman.ts",
    at: "if (offset < 0 || offset >= (COUNT[length] ?? 0)) continue;",
    about: "COUNT[length] ?? 0 ⇒ 1",
    why: "the table has an entry for each length",
  },
  {
    file: "proxy/http2/huffman.ts",
    at: "const symbol = SYMBOLS[(FIRST_INDEX[length] ?? 0) + offset];",
    about: "FIRST_INDEX[length] ?? 0 ⇒ 1",
    why: "the table has an entry for each length",
  },
  {
    file: "proxy/http2/output.ts",
    at: "const NOTHING = new Uint8Array(0);",
    about: "new Uint8Array(0) ⇒ 1",
    why: "no frame fits into one byte",
  },
  {
    file: "proxy/message/accept.ts",
    at: 'const ranges = values.join(",").split(",", MAX_RANGES + 1);',
    about: "MAX_RANGES + 1 ⇒ 2",
    why: "one too many is too many",
  },
  {
    file: "proxy/message/method_parameter.ts",
    at: "if (equals < 0) return false;",
    about: "equals < 0 ⇒ 1",
    why: "a pair that begins with = has an empty name, which is not _method",
  },
  {
    file: "proxy/message/method_parameter.ts",
    at: 'const [name = ""] = decode(pair.slice(0, equals)).trimStart().split("[", 1);',
    about: 'decode(pair.slice(0, equals)).trimStart().split("[", 1) ⇒ 2',
    why: "what is beyond is not used",
  },
  {
    file: "proxy/message/target_credential.ts",
    at: "const own = equals < 0 ? part : part.slice(0, equals);",
    about: "equals < 0 ⇒ <=",
    why: "a part that begins with = has an empty name, as no parameter of a secret has",
  },
  {
    file: "proxy/message/target_credential.ts",
    at: "const own = equals < 0 ? part : part.slice(0, equals);",
    about: "equals < 0 ⇒ 1",
    why: "a part that begins with = has an empty name, as no parameter of a secret has",
  },
  {
    file: "proxy/streams/byte_reader.ts",
    at: "#end = 0;",
    about: "#end = 0; ⇒ 1",
    why: "it is set when the buffer is",
  },
  {
    file: "proxy/streams/byte_reader.ts",
    at: "return false;",
    about: "return false; ⇒ true",
    why: "nobody waits for it",
  },
  {
    file: "proxy/server.ts",
    at: "const LAST_WORDS_MS = 500;",
    about: "LAST_WORDS_MS = 500 ⇒ 501",
    why: "how long words may take to leave is no promise to the millisecond",
  },
  {
    file: "proxy/server.ts",
    at: "const BACKLOG = 4_096;",
    about: "BACKLOG = 4_096 ⇒ 4097",
    why: "the system bounds it by itself",
  },
  {
    file: "proxy/streams/byte_reader.ts",
    at: "this.#start = this.#end = 0;",
    about: "this.#end = 0 ⇒ 1",
    why: "nothing is here, and the next read begins at the front of its buffer",
  },
  {
    file: "proxy/forward/forward.ts",
    at: "if (this.#relay.status > 0) this.#exchange.request.cut(failure);",
    about: "this.#relay.status > 0 ⇒ 1",
    why: "a status has three digits",
  },
  {
    file: "proxy/forward/forward.ts",
    at: 'if (this.#relay.status > 0 || this.#isMisplaced || refusal.reason === "client-closed") {',
    about: "this.#relay.status > 0 ⇒ 1",
    why: "a status has three digits",
  },
  {
    file: "proxy/forward/forward.ts",
    at: "if (this.#relay.status > 0) return false;",
    about: "this.#relay.status > 0 ⇒ 1",
    why: "a status has three digits",
  },
  {
    file: "proxy/forward/forward.ts",
    at: "if (status > 0) record.status = status;",
    about: "status > 0 ⇒ 1",
    why: "a status has three digits",
  },
  {
    file: "proxy/http2/connection.ts",
    at: "const isFast = ms < ROUND_TRIPS * this.#roundTripMs;",
    about: "ms < ROUND_TRIPS * this.#roundTripMs ⇒ <=",
    why: "nothing is measured to be just as long",
  },
];

/** Why a mutant changes nothing, or undefined. */
export function whyEquivalent(mutant: Mutant, source: string): string | undefined {
  const at = source.split("\n")[mutant.line - 1]?.trim();
  return EQUIVALENT.find((each) => each.file === mutant.file && each.at === at && each.about === mutant.about)
    ?.why;
}

/** True when the row's line is no longer in its file: it has to be looked at again. */
export function isStale({ at }: Equivalent, source: string): boolean {
  return !source.split("\n").some((line) => line.trim() === at);
}
