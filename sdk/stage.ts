/**
 * A stage: rules that a client has for as long as something lasts, such as an installation, and not a moment longer.
 *
 * @module
 */
import { SlicerProxyError } from "./error.ts";
import type { Allows } from "./nouns.ts";
import type { AllowRule, CallOptions, RevokedRule, StageRule } from "./types.ts";

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** How long a stage's rules live when it does not say. */
const DEFAULT_TTL = "1h";

/** The part of {@linkcode Allows} that a stage needs. */
type Rules = Pick<Allows, "add" | "revoke">;

/** How a stage is opened. */
export interface StageOptions extends CallOptions {
  /**
   * When the rules end by themselves, should nobody be left to revoke them: `90s`, `15m`, `1h30m`, `7d`; an hour when
   * left out. A rule with a `ttl_seconds` of its own keeps that.
   */
  readonly ttl?: string | undefined;
}

/** An open stage. Disposing it, or {@linkcode Stage.end}, revokes exactly the rules that it added. */
export class Stage implements AsyncDisposable {
  /** The rules as they were added, with the time at which each expires. */
  readonly rules: readonly AllowRule[];
  readonly #allows: Rules;
  #left: readonly RevokedRule[];

  private constructor(allows: Rules, rules: readonly AllowRule[], left: readonly RevokedRule[]) {
    this.#allows = allows;
    this.rules = rules;
    this.#left = left;
  }

  /**
   * Adds the rules one after the other, all or none: when one cannot be added, those before it are revoked again,
   * and end by themselves where the proxy is not to be reached for that. A rule that the client has already is such a
   * case (409): at the end nobody could say whose it is.
   */
  static async open(
    allows: Rules,
    { client, rules, ...options }: StageOptions & {
      readonly client: string;
      readonly rules: readonly StageRule[];
    },
  ): Promise<Stage> {
    const ttlSeconds = parseTtl(options.ttl ?? DEFAULT_TTL);
    const added: AllowRule[] = [];
    const left: RevokedRule[] = [];
    for (const { ttl_seconds = ttlSeconds, ...fields } of rules) {
      const rule = { client, ...fields };
      try {
        added.push(await allows.add({ ...rule, ttl_seconds }, options));
        left.push(rule);
      } catch (error) {
        // Without an answer, or with one about a failure inside, it may have been added all the same.
        const isRefused = error instanceof SlicerProxyError && error.status !== undefined &&
          error.status < 500;
        await revokeAll(allows, isRefused ? left : [...left, rule]).catch(() => {}); // `error` says more
        throw error;
      }
    }
    return new Stage(allows, added, left);
  }

  /**
   * Revokes the rules, the last one first; what they had opened ends. One that is gone already, expired or revoked by
   * somebody, is no failure. Tries all of them before it throws; a further call tries again what is left.
   */
  async end(): Promise<void> {
    const rules = this.#left;
    this.#left = [];
    await revokeAll(this.#allows, rules, (rule) => this.#left = [rule, ...this.#left]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }
}

async function revokeAll(
  allows: Rules,
  rules: readonly RevokedRule[],
  onFailure: (rule: RevokedRule) => void = () => {},
): Promise<void> {
  const errors: unknown[] = [];
  for (const rule of rules.toReversed()) {
    try {
      await allows.revoke(rule);
    } catch (error) {
      if (error instanceof SlicerProxyError && error.status === 404) continue;
      errors.push(error);
      onFailure(rule);
    }
  }
  if (errors.length > 0) throw errors[0];
}

/** The seconds of a duration as the command line takes it, in whole ones. */
function parseTtl(text: string): number {
  let seconds = 0;
  const rest = text.replace(/(\d{1,10})([smhd])/g, (_all, digits: string, unit: string) => {
    seconds += Number(digits) * (UNIT_SECONDS[unit] ?? NaN);
    return "";
  });
  if (rest !== "" || seconds === 0) {
    throw new SlicerProxyError("Cannot read the ttl as a duration: write 90s, 15m, 1h or 7d");
  }
  return seconds;
}
