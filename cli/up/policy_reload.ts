/**
 * `up --policy FILE`: the file is the policy of the clients that it names, at start and again at every SIGHUP.
 *
 * The clients that it names have exactly its rules; clients that it does not name stay as they are. A client that it
 * creates has a token that nobody knows, since none may be written anywhere: `client rotate` prints one.
 *
 * A file that cannot be read stops the start, and at SIGHUP changes nothing. A secret that is missing never stops the
 * start: secrets are made through the API of the proxy that is to start. While the store of a fleet takes no change, the policy
 * of before is in force, and the file is applied as soon as it does.
 *
 * Not here: reading and applying (`policy/policy_file.ts`, `store/changes/policy.ts`).
 *
 * @module
 */
import { isProxyError, messageOf, ProxyError } from "../../core/errors.ts";
import type { LineLog } from "../../core/log.ts";
import type { ClientPlan } from "../../policy/policy_diff.ts";
import { parsePolicyFile, type PolicyFile } from "../../policy/policy_file.ts";
import type { State } from "../../store/state.ts";
import { expandHome } from "../api/url.ts";
import type { Io } from "../terminal/io.ts";
import { readPolicyText } from "../review/policy_input.ts";

/** What a policy file is applied to, and where that is reported. */
export interface PolicyReloadOptions {
  readonly path: string;
  readonly state: Pick<State, "applyPolicy" | "listClients">;
  readonly io: Pick<Io, "input" | "env">;
  readonly log: LineLog;
  /** Between tries while the store of a fleet takes no change. */
  readonly retryMs?: number;
}

const RETRY_MS = 3_000;
/** How many names a log line shows. */
const MAX_NAMES = 10;

/**
 * Applies the file, and again at every SIGHUP until it is disposed.
 *
 * @throws ProxyError `input.invalid` when the file cannot be read, with its line and column; `state.write-failed`
 */
export async function startPolicy(options: PolicyReloadOptions): Promise<AsyncDisposable> {
  const { retryMs = RETRY_MS } = options;
  let running = Promise.resolve();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isAsked = false;
  let isClosed = false;
  /** Applies it now, or again and again until the store takes it or a newer file comes. */
  const apply = async (file: PolicyFile, isFirst = true) => {
    clearTimeout(timer);
    try {
      await applyFile(file, options);
    } catch (error) {
      if (!isProxyError(error, "store.away", "store.refused")) throw error;
      if (isFirst) {
        reportFailure(error, "the policy of before is in force until the store takes this one", options);
      }
      if (!isClosed) timer = setTimeout(() => enqueue(() => apply(file, false)), retryMs);
    }
  };
  const enqueue = (work: () => Promise<void>) => {
    running = running.then(work).catch((error) => reportFailure(error, "nothing was changed", options));
  };
  const file = await readFile(options, "start");
  try {
    await apply(file);
  } catch (error) {
    if (!isProxyError(error, "input.invalid", "limit.reached")) throw error;
    reportFailure(error, "the policy of before is in force; correct this and send SIGHUP", options);
  }
  const reload = () => {
    if (isAsked) return; // the one that waits will read what is there by then
    isAsked = true;
    enqueue(async () => {
      isAsked = false;
      await apply(await readFile(options, "reload"));
    });
  };
  Deno.addSignalListener("SIGHUP", reload);
  return {
    async [Symbol.asyncDispose]() {
      Deno.removeSignalListener("SIGHUP", reload);
      isClosed = true;
      clearTimeout(timer);
      await running;
    },
  };
}

async function readFile(
  { path, io }: PolicyReloadOptions,
  when: "start" | "reload",
): Promise<PolicyFile> {
  const info = await Deno.stat(expandHome(path, io.env("HOME"))).catch(() => undefined); // reading says why
  // A pipe may be read once, at the start. Later nobody may be there to write, and even stopping would wait for it.
  if (when === "reload" && (path === "-" || (info && !info.isFile))) {
    throw new ProxyError("input.invalid", `Cannot read the policy ${path} again: it is no regular file`);
  }
  // Whoever can write to it decides what every client may do.
  if (path !== "-" && info?.isFile && ((info.mode ?? 0) & 0o002) !== 0) {
    throw new ProxyError("input.invalid", `Cannot use the policy ${path}: everybody can write to it`, {
      hint: "run: chmod o-w FILE",
    });
  }
  const { name, text } = await readPolicyText(path, io);
  return parsePolicyFile(text, name);
}

async function applyFile(file: PolicyFile, { path, state, log }: PolicyReloadOptions): Promise<void> {
  const { plan, created } = await state.applyPolicy(file, { prune: "rules", isDryRun: false });
  log.info(plan.length === 0 ? `${path} is in force, nothing to change` : `${path} is in force now`);
  for (const client of plan) log.info(describe(client));
  if (created.length > 0) {
    log.warn(
      `${namesOf(created)}: nobody has a token yet; slicer-proxy client rotate NAME prints one`,
    );
  }
  const others = state.listClients().filter(({ name }) => !file.clients.has(name));
  if (others.length > 0) log.info(`not in ${path}, so left as they are: ${namesOf(others)}`);
}

function describe({ client, action, changes, budget }: ClientPlan): string {
  const counts = [["add", "added"], ["remove", "removed"], ["expire", "with another end"], ["move", "moved"]]
    .flatMap(([action, done]) => {
      const count = changes.filter((change) => change.action === action).length;
      return count === 0 ? [] : [`${count} ${done}`];
    });
  const rules = counts.length === 0 ? "no rules" : `rules: ${counts.join(", ")}`;
  const own = budget ? `, budget: ${budget.join(", ") || "none"}` : "";
  return `client ${client} ${action === "create" ? "created" : "changed"}, ${rules}${own}`;
}

function namesOf(clients: readonly { readonly name: string }[]): string {
  const more = clients.length > MAX_NAMES ? ` and ${clients.length - MAX_NAMES} more` : "";
  return clients.slice(0, MAX_NAMES).map(({ name }) => name).join(", ") + more;
}

function reportFailure(error: unknown, outcome: string, { log }: PolicyReloadOptions): void {
  const hint = isProxyError(error) && error.hint !== undefined ? ` (${error.hint})` : "";
  log.error(`${messageOf(error)}${hint}; ${outcome}`);
}
