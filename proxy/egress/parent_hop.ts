/**
 * Requests without TLS to a parent proxy: in absolute form (RFC 9112 §3.2.2), with what the parent wants to know about us.
 *
 * Not here: the connection (`parent_way.ts`).
 *
 * @module
 */
import { formatHostPort } from "../../core/host_port.ts";
import type { Http1Hop } from "../http1/upstream.ts";
import { makeField } from "../message/fields.ts";
import { authorityOf, type RequestTarget } from "../message/target.ts";
import { refusedByParent } from "./parent_error.ts";
import type { ParentProxy } from "./parents.ts";

/** What a parent makes of requests for `target`. */
export function parentHop(parent: ParentProxy, target: RequestTarget): Http1Hop {
  return {
    outgoing: (head) => ({
      ...head,
      // RFC 9112 §3.2.4: `OPTIONS *` is the authority alone.
      target: `http://${authorityOf(target)}${head.target === "*" ? "" : head.target}`,
      fields: parent.authorization === undefined
        ? head.fields
        : [...head.fields, makeField("Proxy-Authorization", parent.authorization)],
    }),
    incoming: ({ status }) => {
      // No other status can be told from the upstream's own.
      if (status === 407) throw refusedByParent(formatHostPort(target), status);
    },
  };
}
