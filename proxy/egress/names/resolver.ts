/**
 * Finds names with questions of our own: to the name servers of the zone that a name lies in, and to no others. Answers are
 * remembered for the time they are good for, and questions under way shared.
 *
 * What is found here may be dialled only after its check (`policy/address.ts`), each time anew: an answer that is old, or was
 * made up by who owns the name, opens nothing.
 *
 * Not here: `/etc/hosts`, and the system's resolver (`names.ts`).
 *
 * @module
 */
import { RCODE, TYPE_A, TYPE_AAAA } from "../../../core/dns_message.ts";
import type { DnsRecord } from "../../../core/dns_record.ts";
import type { DnsQuestion, DnsResponse } from "../../../core/dns_response.ts";
import { parseHost } from "../../../core/host_port.ts";
import { NAME_LIMITS } from "../../../core/limits.ts";
import { type Answer, AnswerCache } from "./answer_cache.ts";
import { FailedLookup } from "./failed_lookup.ts";
import type { Asker, NameCounters } from "./asker.ts";
import { type ServersOf, zoneOf } from "./name_server.ts";
import { orAborted } from "./or_aborted.ts";
import type { MayFollow } from "./server_client.ts";
import { isSilence, ServerGroup, type ServerGroupOptions } from "./server_group.ts";
import { Turns } from "./turns.ts";

/** See {@linkcode Resolver}. */
export interface ResolverOptions extends ServerGroupOptions {
  readonly zones: readonly ServersOf[];
  /** From a question to the end of waiting for its answer. */
  readonly limitMs: number;
  readonly counters: NameCounters;
  /** Finds what an alias of a name stands for, when that lies in no zone. */
  readonly outside: {
    readonly addresses: (name: string, asker: Asker) => Promise<readonly string[]>;
    readonly records: (name: string, type: number, asker: Asker) => Promise<readonly DnsRecord[]>;
  };
}

interface Zone {
  readonly zone: string;
  readonly group: ServerGroup;
}

/** What is known of a name, and more than that there is nothing. */
type Found = Exclude<Answer, FailedLookup>;

/** How the look-up of one family has ended. */
interface Outcome {
  readonly found?: Found;
  readonly error?: unknown;
}

/** See the module. Disposing it ends the connections to name servers. */
export class Resolver implements Disposable {
  readonly #options: ResolverOptions;
  readonly #zones: readonly Zone[];
  readonly #cache: AnswerCache;
  readonly #turns = new Turns(NAME_LIMITS.maxQuestions, NAME_LIMITS.maxQuestionsPerClient);
  readonly #underWay = new Map<string, Promise<Answer>>();

  constructor(options: ResolverOptions) {
    this.#options = options;
    this.#cache = new AnswerCache(options.now);
    this.#zones = options.zones.map(({ zone, servers }) => ({
      zone,
      group: new ServerGroup(servers, options),
    }));
  }

  /** Answers and connections of before are not used. */
  forget(): void {
    this.#cache.clear();
    for (const { group } of this.#zones) group.leave();
  }

  /** True for a name whose servers are known here. */
  knows(name: string): boolean {
    return zoneOf(this.#zones, name) !== undefined;
  }

  /**
   * All addresses of a name, of both families. When one family is there, the other is not waited for much longer.
   *
   * @throws FailedLookup, or the signal's reason
   */
  async addresses(name: string, asker: Asker): Promise<readonly string[]> {
    const both = [TYPE_A, TYPE_AAAA].map((type) =>
      this.#follow({ name, type }, asker)
        .then((found): Outcome => ({ found }), (error: unknown): Outcome => ({ error }))
    );
    const settled: Outcome[] = [];
    for (const each of both) void each.then((outcome) => settled.push(outcome));
    const all = Promise.all(both);
    await Promise.race(both);
    if (settled.some(hasAddresses)) await withinMs(all, NAME_LIMITS.secondFamilyMs);
    else await all;
    const [outside] = settled.flatMap(({ found }) => found?.alias ?? []);
    if (outside !== undefined) return await this.#options.outside.addresses(outside, asker);
    const found = settled.flatMap(({ found }) => found?.addresses ?? []);
    if (found.length > 0) return found;
    throw mostTelling(settled.map(({ error }) => error));
  }

  /**
   * The records of a name of another type.
   *
   * @throws FailedLookup, or the signal's reason
   */
  async records(name: string, type: number, asker: Asker): Promise<readonly DnsRecord[]> {
    const { alias, records } = await this.#follow({ name, type }, asker);
    return alias === undefined ? records : await this.#options.outside.records(alias, type, asker);
  }

  [Symbol.dispose](): void {
    for (const { group } of this.#zones) group[Symbol.dispose]();
  }

  /**
   * Asks, and asks on about an alias that another zone's servers know, or nobody has told of yet. What is found is an alias only
   * when it lies in no zone.
   */
  async #follow(question: DnsQuestion, asker: Asker): Promise<Found> {
    let { name } = question;
    for (let asked = 0; asked < NAME_LIMITS.maxAliases; asked++) {
      const answer = await this.#answer({ ...question, name }, asker);
      if (answer instanceof FailedLookup) throw answer;
      if (answer.alias === undefined) return answer;
      const alias = parseHost(answer.alias);
      if (alias === undefined || isLocal(alias)) throw new FailedLookup("garbage", "its alias is no host");
      if (!this.knows(alias)) return { ...answer, alias };
      name = alias;
    }
    throw new FailedLookup("garbage", "its aliases do not end");
  }

  async #answer(question: DnsQuestion, { client, signal }: Asker): Promise<Answer> {
    const { counters } = this.#options;
    const key = `${question.type} ${question.name}`;
    const known = this.#cache.get(key);
    if (known) {
      counters.cacheHits++;
      return known;
    }
    const shared = this.#underWay.get(key);
    if (shared) return await orAborted(shared, signal);
    // Only what is under way is shared, never a place behind others of the same client.
    const release = await this.#turns.take(client, signal).catch((error) => {
      throw error instanceof FailedLookup ? new FailedLookup("busy") : error; // it has waited for all its time
    });
    const late = this.#cache.get(key) ?? this.#underWay.get(key);
    if (late) {
      release();
      return await orAborted(Promise.resolve(late), signal);
    }
    const asking = this.#ask(question, key, client).finally(() => {
      this.#underWay.delete(key);
      release();
    });
    this.#underWay.set(key, asking);
    return await orAborted(asking, signal);
  }

  async #ask(question: DnsQuestion, key: string, client: string): Promise<Answer> {
    const { counters, limitMs } = this.#options;
    const zone = zoneOf(this.#zones, question.name);
    if (!zone) return new FailedLookup("away", "no name server is named for it");
    const stale = this.#cache.getStale(key);
    counters.questions++;
    try {
      const mayFollow: MayFollow = (alias) => zoneOf(this.#zones, alias) === zone;
      const response = await zone.group.ask(question, mayFollow, stale ? NAME_LIMITS.staleAfterMs : limitMs);
      const { answer, ttl } = answerOf(response, question, mayFollow);
      this.#cache.set(key, client, answer, ttl);
      return answer;
    } catch (error) {
      if (!(error instanceof FailedLookup)) throw error;
      counters.failures++;
      if (stale && isSilence(error)) {
        counters.stale++;
        this.#cache.renewStale(key);
        return stale;
      }
      this.#cache.set(key, client, error, NAME_LIMITS.failureTtlSeconds);
      return error;
    }
  }
}

function answerOf(
  { rcode, addresses, records, alias, ttl }: DnsResponse,
  { type }: DnsQuestion,
  mayFollow: MayFollow,
): { readonly answer: Answer; readonly ttl: number } {
  const within = (most: number) => Math.min(Math.max(ttl, NAME_LIMITS.minTtlSeconds), most);
  if (addresses.length + records.length > 0) {
    return { answer: { addresses, records }, ttl: within(NAME_LIMITS.maxTtlSeconds) };
  }
  // RFC 6604 §2.1: the code is about the end of the chain. Of an alias in another zone this server is not believed.
  if (alias !== undefined && (rcode === RCODE.noError || !mayFollow(alias))) {
    return { answer: { addresses, records, alias }, ttl: within(NAME_LIMITS.maxTtlSeconds) };
  }
  const isAddress = type === TYPE_A || type === TYPE_AAAA;
  const answer = rcode === RCODE.nxDomain
    ? new FailedLookup("nxdomain")
    : isAddress
    ? new FailedLookup("no-data")
    : { addresses, records };
  return { answer, ttl: within(NAME_LIMITS.maxNegativeTtlSeconds) };
}

/** RFC 6761 §6.3 and §6.4: names that are nobody's to tell of. */
export function isLocal(name: string): boolean {
  return /(?:^|\.)(?:localhost|invalid)$/.test(name);
}

function hasAddresses({ found }: Outcome): boolean {
  return found !== undefined && found.addresses.length > 0;
}

/** Of the failures for both families: that something is wrong, else that there is such a name, else that there is none. */
function mostTelling(failures: readonly unknown[]): unknown {
  return failures.find((each) => !(each instanceof FailedLookup) || each.isUnknown) ??
    failures.find((each) => each instanceof FailedLookup && each.kind === "no-data") ?? failures[0];
}

/** Waits until the promise is settled, or `ms` are over. */
async function withinMs(promise: Promise<unknown>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([promise, new Promise<void>((resolve) => timer = setTimeout(resolve, ms))]);
  clearTimeout(timer);
}
