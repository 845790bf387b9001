/**
 * The codec's error and RFC 9113's error codes.
 *
 * @module
 */
import { type ErrorCode, ProxyError } from "../../core/errors.ts";

/** RFC 9113 §7. */
export const H2 = {
  NO_ERROR: 0x0,
  PROTOCOL_ERROR: 0x1,
  INTERNAL_ERROR: 0x2,
  FLOW_CONTROL_ERROR: 0x3,
  SETTINGS_TIMEOUT: 0x4,
  STREAM_CLOSED: 0x5,
  FRAME_SIZE_ERROR: 0x6,
  REFUSED_STREAM: 0x7,
  CANCEL: 0x8,
  COMPRESSION_ERROR: 0x9,
  CONNECT_ERROR: 0xa,
  ENHANCE_YOUR_CALM: 0xb,
  INADEQUATE_SECURITY: 0xc,
  HTTP_1_1_REQUIRED: 0xd,
} as const;

/** What else an {@linkcode Http2Error} says. */
export interface Http2ErrorDetails {
  /** The request was not acted on, so it may be sent again (RFC 9113 §8.7). */
  readonly isUnprocessed?: boolean;
  /** The audit reason, where it is finer than the code. */
  readonly reason?: string;
  readonly cause?: unknown;
}

/**
 * Why a stream or a connection was cut. Its `ProxyError` code names the side: `client.malformed`, `client.closed` in the
 * server role, `upstream.malformed`, `upstream.closed` in the client role; `limit.reached` for floods; `client.timeout`
 * and `upstream.timeout` for a peer that stalls.
 */
export class Http2Error extends ProxyError {
  /** RFC 9113 §7, or a number that is not there: as received from the peer, or as we send it. */
  readonly h2Code: number;
  /** The request was not acted on, so it may be sent again (RFC 9113 §8.7). */
  readonly isUnprocessed: boolean;

  /** @param message "Cannot <verb> <thing>: <state>", without anything that the peer sent */
  constructor(code: ErrorCode, h2Code: number, message: string, details: Http2ErrorDetails = {}) {
    super(code, message, details);
    this.h2Code = h2Code;
    this.isUnprocessed = details.isUnprocessed ?? false;
  }
}
