/**
 * The fields of a request whose answer has to be looked at on its way: what could not be read is not asked for.
 *
 * @module
 */
import { type HeaderField, makeField } from "./fields.ts";

/**
 * Without compressed messages of WebSockets (RFC 7692), and without zstd, whose blocks are known only once they are whole: an
 * upstream could send the end of a text long after its beginning has left.
 */
export function answeredReadably(fields: readonly HeaderField[]): HeaderField[] {
  return withPlainMessages(fields).flatMap((field) => {
    if (field.key !== "accept-encoding" || !/zstd/i.test(field.value)) return [field];
    const others = field.value.split(",").filter((member) => !/^\s*zstd\s*(;|$)/i.test(member));
    return [makeField(field.name, others.map((member) => member.trim()).join(", ") || "identity")];
  });
}

/** Without compressed messages of WebSockets alone: what is only measured may come in any coding. */
export function withPlainMessages(fields: readonly HeaderField[]): HeaderField[] {
  return fields.filter(({ key }) => key !== "sec-websocket-extensions");
}
