/**
 * Requests without TLS to a parent proxy: in absolute form (RFC 9112 §3.2.2), with what the parent wants to know about us.
 *
 * Not here: the connection (`parent_way.ts`).
 *
 * @module
 */
import { formatHostPort } from "../../../core/host_port.ts";
import type { Http1Hop } from "../../http1/upstream.ts";
import { makeField } from "../../message/fields.ts";
import { authorityOf, type RequestTarget } from "../../message/target.ts";
import { refusedByParent } from "./parent_error.ts";
import type { ParentProxy } from "./parents.ts";

/** A parent at the end of a connection. */
export interface ReachedParent {
  readonly proxy: ParentProxy;
  /** Is told that it does not take our password. */
  readonly onRefused: () => void;
}

/** What a parent makes of requests for `target`. */
export function parentHop({ proxy, onRefused }: ReachedParent, target: RequestTarget): Http1Hop {
  return {
    outgoing: (head) => ({
      ...head,
      // RFC 9112 §3.2.4: `OPTIONS *` is the authority alone.
      target: `http://${authorityOf(target)}${head.target === "*" ? "" : head.target}`,
      fields: proxy.authorization === undefined
        ? head.fields
        : [...head.fields, makeField("Proxy-Authorization", proxy.authorization)],
    }),
    incoming: ({ status }) => {
      // No other status can be told from the upstream's own.
      if (status !== 407) return;
      onRefused();
      throw refusedByParent(formatHostPort(target), status);
    },
  };
}
