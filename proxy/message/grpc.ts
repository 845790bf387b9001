/**
 * What gRPC says in header fields (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
 *
 * Not here: what its messages say, which the proxy does not read.
 *
 * @module
 */
import { type HeaderField, valuesOf } from "./fields.ts";

/** True for a request of the media type of gRPC, with or without its codec. */
export function isGrpc(fields: readonly HeaderField[]): boolean {
  return valuesOf(fields, "content-type").some((type) => /^application\/grpc(?:[+;]|$)/i.test(type));
}

/** How a call ended: 0 is OK, the others are errors; there are 17 (https://grpc.io/docs/guides/status-codes/). */
export function grpcStatusIn(fields: readonly HeaderField[]): number | undefined {
  const value = fields.find(({ key }) => key === "grpc-status")?.value;
  return value !== undefined && /^\d{1,2}$/.test(value) ? Number(value) : undefined;
}
