/**
 * SETTINGS (RFC 9113 §6.5, RFC 8441 §3): what the peer sets, and the frame's payload of what we set.
 *
 * @module
 */
import { H2 } from "./error.ts";
import { Fault } from "./fault.ts";
import { MAX_31_BITS, MAX_FRAME_BYTES, writeUint32 } from "./frames.ts";

/** RFC 9113 §6.5.2, RFC 8441 §3. */
export const SETTING = {
  HEADER_TABLE_SIZE: 0x1,
  ENABLE_PUSH: 0x2,
  MAX_CONCURRENT_STREAMS: 0x3,
  INITIAL_WINDOW_SIZE: 0x4,
  MAX_FRAME_SIZE: 0x5,
  MAX_HEADER_LIST_SIZE: 0x6,
  ENABLE_CONNECT_PROTOCOL: 0x8,
} as const;

/** What we need of a peer's settings. HEADER_TABLE_SIZE is not among them: our encoder uses no table. */
export interface PeerSettings {
  maxConcurrentStreams: number;
  initialWindowSize: number;
  hasExtendedConnect: boolean;
}

/** Before its SETTINGS came. The standard's initial value for streams is no limit; 100 is what it recommends at least. */
export const INITIAL_PEER_SETTINGS: Readonly<PeerSettings> = {
  maxConcurrentStreams: 100,
  initialWindowSize: 65_535,
  hasExtendedConnect: false,
};

/** A SETTINGS payload. */
export function formatSettings(pairs: readonly (readonly [id: number, value: number])[]): Uint8Array {
  const payload = new Uint8Array(pairs.length * 6);
  for (const [i, [id, value]] of pairs.entries()) {
    payload[i * 6 + 1] = id;
    writeUint32(payload, i * 6 + 2, value);
  }
  return payload;
}

/**
 * Takes a SETTINGS payload over, in order. A frame may repeat a setting a thousand times: what follows from a value is
 * for the caller to do once, afterwards.
 *
 * @param payload a multiple of six bytes
 * @param isFromServer a server must not enable push
 * @throws Fault PROTOCOL_ERROR or FLOW_CONTROL_ERROR for the connection
 */
export function applySettings(peer: PeerSettings, payload: Uint8Array, isFromServer: boolean): void {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  for (let at = 0; at < payload.length; at += 6) {
    const id = view.getUint16(at);
    const value = view.getUint32(at + 2);
    switch (id) {
      case SETTING.ENABLE_PUSH:
        if (value > (isFromServer ? 0 : 1)) throw bad("ENABLE_PUSH");
        break;
      case SETTING.MAX_CONCURRENT_STREAMS:
        peer.maxConcurrentStreams = value;
        break;
      case SETTING.INITIAL_WINDOW_SIZE:
        if (value > MAX_31_BITS) throw bad("INITIAL_WINDOW_SIZE", H2.FLOW_CONTROL_ERROR);
        peer.initialWindowSize = value;
        break;
      case SETTING.MAX_FRAME_SIZE:
        if (value < MAX_FRAME_BYTES || value > 0xff_ffff) throw bad("MAX_FRAME_SIZE");
        break;
      case SETTING.ENABLE_CONNECT_PROTOCOL:
        // RFC 8441 §3: it cannot be taken back.
        if (value > 1 || (value === 0 && peer.hasExtendedConnect)) throw bad("ENABLE_CONNECT_PROTOCOL");
        peer.hasExtendedConnect = value === 1;
        break;
      default: // MAX_HEADER_LIST_SIZE is advice; unknown ones are ignored (RFC 9113 §6.5.2).
    }
  }
}

function bad(name: string, h2Code: number = H2.PROTOCOL_ERROR): Fault {
  return new Fault("connection", h2Code, `a value that ${name} cannot have (RFC 9113 §6.5.2)`);
}
