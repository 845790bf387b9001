/** A provider that gives answers in turn, without a network, and keeps what it was asked. */
import type { RenewalContext } from "../../../secrets/oauth_kind.ts";
import type { ProviderRequest } from "../../../secrets/provider_call.ts";

/** What is said of an answer; its body is JSON unless it is text. */
export interface ScriptedAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** What a kind's `renew` is given, at the time `nowMs`. */
export function scriptedContext(
  nowMs: number,
  ...answers: readonly ScriptedAnswer[]
): RenewalContext & { readonly asked: ProviderRequest[] } {
  const asked: ProviderRequest[] = [];
  const left = [...answers];
  return {
    asked,
    now: () => nowMs,
    call: (request) => {
      asked.push(request);
      const { status = 200, headers = {}, body = {} } = left.shift() ?? { status: 599 };
      const text = typeof body === "string" ? body : JSON.stringify(body);
      return Promise.resolve({ status, headers, body: text });
    },
  };
}
