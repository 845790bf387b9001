/**
 * The watch over one request's answers for the credential that it was sent with.
 *
 * Not here: how it is looked for and what becomes of it (`echo/`).
 *
 * @module
 */
import type { Credential } from "../../secrets/credential.ts";
import { injectedForms } from "../../secrets/injected_forms.ts";
import { EchoGuard } from "../echo/echo_guard.ts";
import { Needles } from "../echo/needles.ts";
import { renderingsOf } from "../echo/renderings.ts";
import type { ProxyContext } from "../context.ts";

/** Lives as long as the credential does, and is not made anew for each request. */
const KNOWN = new WeakMap<Credential, Needles>();

/** A guard for the answers to a request with this credential; undefined when there is nothing to look for. */
export function guardFor(
  credential: Credential | undefined,
  { onEcho, deadlines }: Pick<ProxyContext, "onEcho" | "deadlines">,
): EchoGuard | undefined {
  if (!credential) return undefined;
  const needles = KNOWN.get(credential) ?? new Needles(renderingsOf(injectedForms(credential)));
  KNOWN.set(credential, needles);
  return needles.longest === 0 ? undefined : new EchoGuard(needles, onEcho, deadlines);
}
