/**
 * The kinds whose value stands in the request target: `query` and `path`.
 *
 * Not here: how a target is changed (`proxy/message/target_credential.ts`).
 *
 * @module
 */
import type { CredentialHeader } from "./credential.ts";
import { checkHeaderText, checkText, invalid, type StaticKind } from "./kind_static.ts";

const QUERY_HINT =
  "write name=value, such as key=KEY; the value as the API gives it, it is encoded when it is sent";

/** `name=value`: a parameter of the query. */
const QUERY: StaticKind<CredentialHeader> = {
  parse(value) {
    checkText("query parameter", value);
    const equals = value.indexOf("=");
    if (equals < 0) invalid("Cannot use this query parameter: it has no =", QUERY_HINT);
    const name = value.slice(0, equals);
    if (!/^[A-Za-z0-9._~-]{1,128}$/.test(name)) {
      invalid("Cannot use this query parameter: its name is none", QUERY_HINT);
    }
    if (equals === value.length - 1) {
      invalid("Cannot use this query parameter: its value is empty", QUERY_HINT);
    }
    return [name, value.slice(equals + 1)];
  },
  inject: (parameter) => ({ headers: [], parameter, material: [parameter[1]] }),
};

/** A segment of the path, or a part of one, as it stands in a URL (RFC 3986 §3.3). */
const PATH: StaticKind<string> = {
  parse(value) {
    checkHeaderText("path segment", value);
    const isSegment = /^[A-Za-z0-9._~!$&'()*+,;=:@%-]+$/.test(value) && !/%(?![0-9A-Fa-f]{2})/.test(value);
    if (!isSegment || /%(?:2f|5c|00)/i.test(value)) {
      invalid(
        "Cannot use this path segment: it has characters that end a segment or must be encoded",
        "give what stands between two slashes, percent-encoded as in the URL",
      );
    }
    if (/^(?:\.|%2e)+$/i.test(value)) {
      invalid("Cannot use this path segment: it means another folder", "give the credential itself");
    }
    return value;
  },
  inject: (segment) => ({ headers: [], segment, material: [segment] }),
};

export const KEY_PARAMETER = QUERY as StaticKind;
export const KEY_SEGMENT = PATH as StaticKind;
