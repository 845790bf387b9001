/**
 * HTTP/2 frames as lines of text and back, written for the tests alone: what the codec prints is read by other code than its
 * own.
 *
 *     HEADERS 1 ES EH GET:/path name=value …   `GET:/path` stands for the four pseudo-header fields of a request to up.test
 *     HEADERS 1 ES EH block=8286               … a header block in hex
 *     CONTINUATION 1 EH name=value
 *     DATA 1 ES text                           text to the end of the line; `{{x*300}}` is repetition
 *     SETTINGS [ACK] INITIAL_WINDOW_SIZE=1 …   or `3=100`
 *     RST_STREAM 1 CANCEL
 *     WINDOW_UPDATE 1 100
 *     PING [ACK] 0102030405060708
 *     GOAWAY 7 NO_ERROR
 *     PRIORITY 1
 *     FRAME type flags stream hex              any frame, numbers in decimal
 *     BYTES hex
 *
 * `pad=5` and `prio` (behind the flags) pad a frame, and put the old priority fields into it. In fields `\xHH` is a byte.
 *
 * @module
 */
import { Buffer } from "node:buffer";

const TYPES = [
  "DATA",
  "HEADERS",
  "PRIORITY",
  "RST_STREAM",
  "SETTINGS",
  "PUSH_PROMISE",
  "PING",
  "GOAWAY",
  "WINDOW_UPDATE",
  "CONTINUATION",
];
const CODES = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED",
];
const SETTINGS = [
  "",
  "HEADER_TABLE_SIZE",
  "ENABLE_PUSH",
  "MAX_CONCURRENT_STREAMS",
  "INITIAL_WINDOW_SIZE",
  "MAX_FRAME_SIZE",
  "MAX_HEADER_LIST_SIZE",
  "",
  "ENABLE_CONNECT_PROTOCOL",
];

/** The flags that a type has. */
const FLAGS: Readonly<Record<string, number>> = {
  DATA: 1 | 8,
  HEADERS: 1 | 4 | 8 | 32,
  SETTINGS: 1,
  PING: 1,
  CONTINUATION: 4,
};

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** The name of an error code. */
export function codeName(code: number): string {
  return CODES[code] ?? `code${code}`;
}

/** A frame's bytes. */
export function makeFrame(type: number, flags: number, id: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}

/** The bytes that a line stands for. */
export function parseFrameLine(line: string): Buffer {
  const [name = "", ...words] = line.split(" ");
  if (name === "BYTES") return Buffer.from(words.join(""), "hex");
  if (name === "PREFACE") return PREFACE;
  if (name === "FRAME") {
    const [type, flags, id, payload = ""] = words;
    return makeFrame(Number(type), Number(flags), Number(id), Buffer.from(payload, "hex"));
  }
  const type = TYPES.indexOf(name);
  if (type < 0) throw new SyntaxError(`no frame: ${line}`);
  const onStream = !["SETTINGS", "PING", "GOAWAY"].includes(name);
  const id = onStream ? Number(words.shift()) : 0;
  let flags = 0;
  let pad: number | undefined;
  let prio = false;
  for (; words.length > 0; words.shift()) {
    const word = words[0] ?? "";
    if (word === "ES" || word === "ACK") flags |= 1;
    else if (word === "EH") flags |= 4;
    else if (/^pad=\d+$/.test(word)) [flags, pad] = [flags | 8, Number(word.slice(4))];
    else if (word === "prio") [flags, prio] = [flags | 32, true];
    else break;
  }
  const content = payloadOf(name, words);
  return makeFrame(
    type,
    flags,
    id,
    Buffer.concat([
      pad === undefined ? Buffer.alloc(0) : Buffer.from([pad]),
      prio ? Buffer.from([0, 0, 0, 0, 15]) : Buffer.alloc(0),
      content,
      Buffer.alloc(pad ?? 0),
    ]),
  );
}

function payloadOf(name: string, words: readonly string[]): Buffer {
  switch (name) {
    case "DATA":
      return Buffer.from(unescape(words.join(" ")), "latin1");
    case "HEADERS":
    case "CONTINUATION":
      return Buffer.concat(words.map(blockOf));
    case "RST_STREAM":
      return uint32(CODES.indexOf(words[0] ?? ""));
    case "WINDOW_UPDATE":
      return uint32(Number(words[0]));
    case "PING":
      return Buffer.from(words[0] ?? "0000000000000000", "hex");
    case "PRIORITY":
      return Buffer.from([0, 0, 0, 0, 15]);
    case "GOAWAY":
      return Buffer.concat([uint32(Number(words[0])), uint32(CODES.indexOf(words[1] ?? ""))]);
    case "PUSH_PROMISE":
      return Buffer.concat([uint32(2), blockOf("GET:/")]);
    default: // SETTINGS
      return Buffer.concat(words.map((word) => {
        const [key = "", value] = word.split("=");
        const setting = Buffer.alloc(6);
        setting.writeUInt16BE(SETTINGS.includes(key) ? SETTINGS.indexOf(key) : Number(key));
        setting.writeUInt32BE(Number(value), 2);
        return setting;
      }));
  }
}

/** One word of a header list: literals without indexing (RFC 7541 §6.2.2), no Huffman code. */
function blockOf(word: string): Buffer {
  if (word.startsWith("block=")) return Buffer.from(word.slice(6), "hex");
  const request = /^([A-Z]+):(.*)$/.exec(word);
  if (request) {
    const [, method = "", path = ""] = request;
    return Buffer.concat([
      [":method", method],
      [":scheme", "https"],
      [":authority", "up.test"],
      [":path", unescape(path)],
    ].map(([key = "", value = ""]) => literal(key, value)));
  }
  const at = word.indexOf("=", 1);
  if (at < 0) throw new SyntaxError(`no field: ${word}`);
  return literal(unescape(word.slice(0, at)), unescape(word.slice(at + 1)));
}

/** A literal without indexing. */
export function literal(name: string, value: string, first = 0): Buffer {
  return Buffer.concat([Buffer.from([first]), stringOf(name), stringOf(value)]);
}

function stringOf(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  const length: number[] = [];
  if (bytes.length < 127) length.push(bytes.length);
  else {
    length.push(127);
    let rest = bytes.length - 127;
    for (; rest >= 128; rest = Math.floor(rest / 128)) length.push(rest % 128 + 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

function unescape(text: string): string {
  return text
    .replace(/\{\{(.)\*(\d+)\}\}/g, (_all, char: string, count: string) => char.repeat(Number(count)))
    .replace(/\\x([0-9a-f]{2})/gi, (_all, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** A frame that was read. */
export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** The whole frames at the beginning of `bytes`, and what is left. */
export function splitFrames(bytes: Buffer): { readonly frames: SeenFrame[]; readonly rest: Buffer } {
  const frames: SeenFrame[] = [];
  let at = 0;
  while (bytes.length - at >= 9) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    frames.push({
      type: bytes[at + 3] ?? 0,
      flags: bytes[at + 4] ?? 0,
      id: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, end),
    });
    at = end;
  }
  return { frames, rest: bytes.subarray(at) };
}

/** A frame as a line. @param fields the header list of a HEADERS frame */
export function formatFrame({ type, flags, id, payload }: SeenFrame, fields: readonly string[]): string {
  const name = TYPES[type] ?? `FRAME ${type}`;
  const words: (string | number)[] = [name];
  if (!["SETTINGS", "PING", "GOAWAY"].includes(name)) words.push(id);
  else if (id !== 0) words.push(`stream=${id}`); // which none of them may have
  const stray = flags & ~(FLAGS[name] ?? 0);
  if (stray !== 0) words.push(`flags=${stray}`);
  if ((name === "SETTINGS" || name === "PING") && (flags & 1) !== 0) words.push("ACK");
  if ((name === "DATA" || name === "HEADERS") && (flags & 1) !== 0) words.push("ES");
  if (name === "HEADERS" || name === "CONTINUATION") words.push(...fields);
  else if (name === "DATA") words.push(...shorten(payload));
  else if (name === "RST_STREAM") words.push(codeName(payload.readUInt32BE()));
  else if (name === "WINDOW_UPDATE") words.push(payload.readUInt32BE());
  else if (name === "PING") words.push(payload.toString("hex"));
  else if (name === "GOAWAY") words.push(payload.readUInt32BE(), codeName(payload.readUInt32BE(4)));
  else if (name === "SETTINGS") {
    for (let at = 0; at < payload.length; at += 6) {
      words.push(`${SETTINGS[payload.readUInt16BE(at)]}=${payload.readUInt32BE(at + 2)}`);
    }
  }
  return words.join(" ");
}

/** Text of a body; long ones of one character as a repetition. */
function shorten(payload: Buffer): string[] {
  const text = payload.toString("latin1");
  if (text === "") return [];
  return [
    text.length > 40 && text === text.charAt(0).repeat(text.length)
      ? `{{${text.charAt(0)}*${text.length}}}`
      : text,
  ];
}
