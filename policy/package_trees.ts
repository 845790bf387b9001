/**
 * How many more runs it takes until everything that a package needs has been asked for. A program learns the names of what
 * a package depends on from its document, so each run of audit mode shows one level of the tree, and no log has the rest.
 *
 * Where a public registry is known, its reading part is proposed as a whole as soon as a second package is asked for there:
 * then one more run is the most that it takes. What such a rule lets through goes to the registry and nobody else.
 *
 * Not here: what one package needs besides its document (`followups.ts`), and rules (`suggest.ts`).
 *
 * @module
 */
import { type FollowUp, type FollowUpName, followUpsOf } from "./followups.ts";
import { writePath } from "./path_groups.ts";

/** A public registry. */
interface Registry {
  readonly by: FollowUpName;
  readonly host: string;
  /** The document of a package, as a proposal writes it. */
  readonly document: RegExp;
  /** The documents of all of them, and nothing that is not for everybody to read. */
  readonly all: string;
}

const NPM = { by: "npm", document: /^\/(?:@[^/*]+\/)?[^/@*-][^/*]*$/, all: "/*" } as const;

const REGISTRIES: readonly Registry[] = [
  { ...NPM, host: "registry.npmjs.org" },
  { ...NPM, host: "registry.yarnpkg.com" },
  { by: "pip", host: "pypi.org", document: /^\/simple\/[^/*]+\/$/, all: "/simple/*" },
];

/** Programs whose packages have packages of their own. */
const WITH_TREES: ReadonlySet<FollowUpName> = new Set<FollowUpName>(["npm", "pip", "cargo", "go"]);

/** What is to be expected of one program at one host. */
export interface ExpectedPasses {
  readonly by: FollowUpName;
  /** Canonical. */
  readonly host: string;
  /** How many runs it takes at most beyond the next one; undefined where that is one for each level of the tree. */
  readonly more?: 0 | 1;
}

/** A request for something at a host. */
interface Asked {
  /** Upper case. */
  readonly method: string;
  readonly host: string;
  /** As sent, or as a rule writes it. */
  readonly path: string;
}

/**
 * The documents of a whole registry, when more than one package of it was asked for; undefined otherwise.
 *
 * @param host canonical
 * @param asked paths that were denied there, to GET, as sent
 * @param known paths of rules that allow GET there
 */
export function wholeRegistry(
  host: string,
  asked: readonly string[],
  known: readonly string[],
): (FollowUp & { readonly after: string }) | undefined {
  const registry = REGISTRIES.find((each) => each.host === host);
  if (!registry) return undefined;
  const isDocument = (path: string) => registry.document.test(writePath(path));
  const after = asked.findLast(isDocument);
  if (after === undefined || new Set([...asked, ...known].filter(isDocument).map(writePath)).size < 2) {
    return undefined;
  }
  return { by: registry.by, method: "GET", path: registry.all, after };
}

/**
 * What to expect once the proposals for these requests are in force, by program and host.
 *
 * @param isWhole true where the documents of a registry are among what is proposed; undefined where they never are
 */
export function expectedPasses(
  requests: readonly Asked[],
  isWhole: ((host: string, all: string) => boolean) | undefined,
): readonly ExpectedPasses[] {
  const expected = new Map<string, ExpectedPasses>();
  for (const { method, host, path } of requests) {
    const by = followUpsOf({ method, host, path }).find(({ by }) => WITH_TREES.has(by))?.by;
    if (by === undefined) continue;
    const registry = REGISTRIES.find((each) => each.host === host && each.by === by);
    const more = registry && isWhole && (isWhole(host, registry.all) ? 0 : 1);
    expected.set(`${by} ${host}`, { by, host, ...(more === undefined ? {} : { more }) });
  }
  return [...expected.values()];
}

/** It in a sentence, for people, without its full stop. */
export function describePasses({ by, host, more }: ExpectedPasses): string {
  if (more === undefined) {
    return `one more pass is expected for ${by} at ${host} for each level of what its packages depend on`;
  }
  return more === 0
    ? `no further pass is expected for ${by}: all that it reads at ${host} is proposed; --exact leaves that out`
    : `one more pass at most is expected for ${by}: what a package depends on is asked of ${host} then`;
}
