/**
 * What a person decides about requests that wait. An approval is for what was shown: this request, or for a while or for good
 * a rule for exactly its method, host, port and path, which stands before the one that asked and is listed and revoked
 * as any other. Every decision is in the audit log.
 *
 * Not here: the requests themselves (`proxy/decide/ask_book.ts`).
 *
 * @module
 */
import type { Approval, RequestDesk } from "../../api/control.ts";
import type { Clock } from "../../core/clock.ts";
import { ProxyError } from "../../core/errors.ts";
import { isCut } from "../../policy/audit_record.ts";
import { canBeTyped } from "../../policy/allow_command.ts";
import { parseRule, type Rule, type RuleSpec } from "../../policy/rule.ts";
import type { AskBook } from "../../proxy/decide/ask_book.ts";
import type { Ask } from "../../proxy/decide/asks.ts";
import type { AuditLog } from "../../proxy/records/audit_log.ts";
import type { State } from "../../store/state.ts";

/** See {@linkcode Approvals}. */
export interface ApprovalsParts {
  readonly book: AskBook;
  readonly state: Pick<State, "listRules" | "addRule">;
  readonly audit: Pick<AuditLog, "write">;
  readonly clock: Pick<Clock, "now">;
}

/** See the module. */
export class Approvals implements RequestDesk {
  readonly #parts: ApprovalsParts;
  /** Those for which a rule is being added: nobody decides otherwise meanwhile. */
  readonly #deciding = new Set<string>();

  constructor(parts: ApprovalsParts) {
    this.#parts = parts;
  }

  list(): readonly Ask[] {
    return this.#parts.book.list();
  }

  async approve(id: string, approval: Approval): Promise<Rule | undefined> {
    const { book } = this.#parts;
    const ask = this.#waiting(id);
    if (ask.ruleId === undefined && approval === "once") {
      throw new ProxyError("input.invalid", "Cannot approve a rule for one request", {
        hint: "approve it --for 15m, or --always",
      });
    }
    const rule = approval === "once" ? undefined : await this.#add(ask, approval);
    if (!book.settle(id, "approved") && !rule) throw gone(id);
    this.#note(approval === "always" ? "APPROVE-ALWAYS" : "APPROVE", ask, approval);
    return rule;
  }

  deny(id: string): void {
    const ask = this.#waiting(id);
    this.#parts.book.settle(id, "denied");
    this.#note("DENY", ask, "once");
  }

  #waiting(id: string): Ask {
    const ask = this.#parts.book.get(id);
    if (!ask || this.#deciding.has(id)) throw gone(id);
    return ask;
  }

  async #add(ask: Ask, approval: Exclude<Approval, "once">): Promise<Rule> {
    this.#deciding.add(ask.id);
    try {
      return await this.#allow(ask, approval);
    } finally {
      this.#deciding.delete(ask.id);
    }
  }

  /** Adds the rule for exactly what was asked for. It ends no later than the rule that asked. */
  async #allow(ask: Ask, approval: Exclude<Approval, "once">): Promise<Rule> {
    const { state, clock } = this.#parts;
    if (ask.ruleId === undefined) {
      const { host, port, method, path } = ask;
      const spec = parseRule({ host, ports: [port], methods: [method], paths: [path] });
      return await state.addRule(ask.client, spec, approval === "always" ? {} : { ttlMs: approval.forMs });
    }
    const rules = state.listRules(ask.client);
    const at = rules.findIndex(({ id }) => id === ask.ruleId);
    const asking = rules[at];
    if (!asking) throw gone(ask.id);
    const left = asking.expiresAt === undefined ? Infinity : asking.expiresAt - clock.now();
    const ttlMs = Math.min(left, approval === "always" ? Infinity : approval.forMs);
    return await state.addRule(ask.client, narrowed(asking, ask), {
      place: at + 1,
      ...(ttlMs === Infinity ? {} : { ttlMs }),
    });
  }

  #note(
    method: "APPROVE" | "APPROVE-ALWAYS" | "DENY",
    { client, scheme, host, port, path }: Ask,
    approval: Approval,
  ): void {
    this.#parts.audit.write({
      ...{ verdict: "change", client, method, scheme, host, port, path },
      ...(typeof approval === "object" ? { durationMs: approval.forMs } : {}),
    });
  }
}

/** The rule that asks, for this request alone and without asking. @throws ProxyError `input.invalid` */
function narrowed(
  { id: _id, client: _client, expiresAt: _expiresAt, ask: _ask, askTimeoutMs: _timeout, ...spec }: Rule,
  { method, host, port, path }: Ask,
): RuleSpec {
  if (isCut(path) || isCut(method) || !canBeTyped({ host, method, path })) {
    throw new ProxyError(
      "input.invalid",
      "Cannot approve it for longer: no rule can be written for its path",
      {
        hint: "approve it --once",
      },
    );
  }
  const what = spec.grpc
    ? { methods: [], paths: [], grpc: [path.slice(1)] }
    : { methods: [method], paths: [path] };
  return parseRule({ ...spec, host, ports: [port], ...what });
}

function gone(id: string): ProxyError {
  return new ProxyError(
    "input.not-found",
    `Cannot decide about ${JSON.stringify(id.slice(0, 40))}: no such request waits`,
    {
      hint: "slicer-proxy requests list has those that do",
    },
  );
}
