/** ClientHellos made by hand (RFC 8446 §4.1.2): for what no TLS library sends. */

/** How it is to be. */
export interface HelloShape {
  readonly serverName?: string;
  /** Bytes of padding before the server name, as a post-quantum key share would put there. */
  readonly paddingBytes?: number;
  /** Split over records of that many bytes. */
  readonly recordBytes?: number;
}

/** One ClientHello, in one or several records. */
export function makeClientHello(
  { serverName, paddingBytes = 0, recordBytes = 16_384 }: HelloShape,
): Uint8Array {
  const extensions = [
    ...(paddingBytes > 0 ? extension(21, new Array<number>(paddingBytes).fill(0)) : []),
    ...(serverName === undefined ? [] : extension(0, vector(2, [0, ...vector(2, text(serverName))]))),
    ...extension(43, vector(1, [3, 4, 3, 3])),
  ];
  const body = [
    ...[3, 3],
    ...new Array<number>(32).fill(7),
    ...vector(1, []),
    ...vector(2, [0x13, 0x01, 0xc0, 0x2b]),
    ...vector(1, [0]),
    ...vector(2, extensions),
  ];
  const message = [1, ...vector(3, body)];
  const records: number[] = [];
  for (let at = 0; at < message.length; at += recordBytes) {
    records.push(0x16, 3, 1, ...vector(2, message.slice(at, at + recordBytes)));
  }
  return Uint8Array.from(records);
}

function text(value: string): number[] {
  return [...value].map((letter) => letter.charCodeAt(0));
}

function extension(type: number, body: readonly number[]): number[] {
  return [type >> 8, type & 255, ...vector(2, body)];
}

function vector(sizeBytes: number, body: readonly number[]): number[] {
  const size = Array.from({ length: sizeBytes }, (_, i) => (body.length >> (8 * (sizeBytes - 1 - i))) & 255);
  return [...size, ...body];
}
