/**
 * The rows of commands about clients and what they may: rules, profiles, and what waits for a person.
 *
 * @module
 */
import { PROFILES } from "../../policy/profile.ts";
import { CONDITION_FLAGS, WORD_FLAGS } from "../api/rule_words.ts";
import { type CommandSpec, type FlagSpec, splitCommas, splitPaths } from "../command/command.ts";
import { JSON_FLAG, URL_FLAG } from "../command/common_flags.ts";

const CLIENT_NAME = { name: "NAME", description: "the client" };
const REQUEST_ID = { name: "ID", description: "the request, as requests list has it" };
const RULE_CLIENT = { name: "CLIENT", description: "the client that owns the rule" };

/** What makes a rule the rule it is; `allow` and `revoke` share it. */
const RULE_FLAGS: readonly FlagSpec[] = [
  {
    name: "host",
    placeholder: "HOST",
    description: "api.example.com, *.example.com, * or an IP address",
    isRequired: true,
  },
  {
    name: "method",
    placeholder: "METHOD",
    description: "only this method; none means any",
    isRepeatable: true,
    split: splitCommas,
  },
  {
    name: "path",
    placeholder: "PATH",
    description: "only this path: /v1/models, or /v1/* for all below; none means any",
    isRepeatable: true,
    split: splitPaths,
  },
  {
    name: "port",
    placeholder: "PORT",
    description: "only this port; none means 80 and 443",
    isRepeatable: true,
    split: splitCommas,
  },
  { name: "secret", placeholder: "NAME", description: "inject the credential of this secret" },
  {
    name: "passthrough",
    description: "pass the bytes through uninspected; not with --method, --path or --secret",
  },
];

/** `allow --profile` needs no host, and takes a secret for each host of the profile. */
function allowFlag(flag: FlagSpec): FlagSpec {
  if (flag.name === "host") return { ...flag, isRequired: false };
  return flag.name === "secret" ? { ...flag, isRepeatable: true, split: splitCommas } : flag;
}

const PROFILE_NAMES = PROFILES.map(({ name }) => name);

const ALL_FLAG: FlagSpec = { name: "all", description: "every client, also those that are made later" };

/** In the order of the overview, where those about secrets stand between these and {@linkcode RULE_COMMANDS}. */
export const CLIENT_COMMANDS: readonly CommandSpec[] = [
  {
    name: "client create",
    summary: "make a client and print its token, which is shown only this once",
    arguments: [CLIENT_NAME],
    flags: [
      {
        name: "token",
        placeholder: "TOKEN",
        description: "bring a token (better 16 characters or more) instead of a random one",
      },
      {
        name: "token-file",
        placeholder: "FILE",
        description: "read that token from a file, or from standard input with -",
      },
      URL_FLAG,
    ],
    examples: ["TOKEN=$(slicer-proxy client create ci-1)"],
    load: async () => (await import("./cmd_client.ts")).createClient,
  },
  {
    name: "client list",
    summary: "list the clients",
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy client list"],
    load: async () => (await import("./cmd_client.ts")).listClients,
  },
  {
    name: "client rotate",
    summary: "give a client a new token and print it; the old one ends at once",
    arguments: [CLIENT_NAME],
    flags: [URL_FLAG],
    examples: ["TOKEN=$(slicer-proxy client rotate ci-1)"],
    load: async () => (await import("./cmd_client.ts")).rotateClient,
  },
  {
    name: "client delete",
    summary: "delete a client, its token and its rules",
    arguments: [CLIENT_NAME],
    flags: [URL_FLAG],
    examples: ["slicer-proxy client delete ci-1"],
    load: async () => (await import("./cmd_client.ts")).deleteClient,
  },
  {
    name: "client budget",
    summary: "say what a client has for an hour or a day, or show how its budgets stand",
    arguments: [CLIENT_NAME],
    flags: [
      {
        name: "requests",
        placeholder: "N/h",
        description: "so many requests and tunnels an hour (h) or a day (d), such as 1000/h",
        isRepeatable: true,
        split: splitCommas,
      },
      {
        name: "bytes-up",
        placeholder: "N/d",
        description: "so many bytes of bodies and tunnels from the client, such as 100M/d",
        isRepeatable: true,
        split: splitCommas,
      },
      {
        name: "bytes-down",
        placeholder: "N/d",
        description: "so many bytes to the client, such as 1G/d",
        isRepeatable: true,
        split: splitCommas,
      },
      {
        name: "tokens",
        placeholder: "N/d",
        description: "so many tokens of models, read and written, such as 2M/d",
        isRepeatable: true,
        split: splitCommas,
      },
      { name: "none", description: "end what was said before" },
      JSON_FLAG,
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy client budget ci-1 --requests 1000/h --bytes-up 100M/d",
      "slicer-proxy client budget ci-1",
    ],
    load: async () => (await import("./cmd_budget.ts")).run,
  },
  {
    name: "client suspend",
    summary: "end all that a client has open, and refuse it everything until it is resumed",
    arguments: [CLIENT_NAME],
    flags: [URL_FLAG],
    examples: ["slicer-proxy client suspend ci-1"],
    load: async () => (await import("./cmd_client.ts")).suspendClient,
  },
  {
    name: "client resume",
    summary: "let a suspended client go on, with its token and rules as they were",
    arguments: [CLIENT_NAME],
    flags: [URL_FLAG],
    examples: ["slicer-proxy client resume ci-1"],
    load: async () => (await import("./cmd_client.ts")).resumeClient,
  },
  {
    name: "requests list",
    summary: "list the requests that wait for a person (allow --ask)",
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy requests list"],
    load: async () => (await import("./cmd_requests.ts")).listRequests,
  },
  {
    name: "requests approve",
    summary: "let a waiting request go on, and for a while or for good those like it",
    arguments: [REQUEST_ID],
    flags: [
      { name: "once", description: "this request alone, as without any of these" },
      {
        name: "for",
        placeholder: "DURATION",
        description: "add a rule for exactly this request, for so long",
      },
      { name: "always", description: "add such a rule for good" },
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy requests approve 3f9a1c2b7d40",
      "slicer-proxy requests approve 3f9a1c2b7d40 --for 15m",
    ],
    load: async () => (await import("./cmd_requests.ts")).approveRequest,
  },
  {
    name: "requests deny",
    summary: "refuse a waiting request",
    arguments: [REQUEST_ID],
    flags: [URL_FLAG],
    examples: ["slicer-proxy requests deny 3f9a1c2b7d40"],
    load: async () => (await import("./cmd_requests.ts")).denyRequest,
  },
  {
    name: "suspend",
    summary: "the kill switch: end all that is open, and refuse every client everything",
    flags: [ALL_FLAG, URL_FLAG],
    examples: ["slicer-proxy suspend --all"],
    load: async () => (await import("./cmd_client.ts")).suspendAll,
  },
  {
    name: "resume",
    summary: "let all clients go on but those that were suspended by name",
    flags: [ALL_FLAG, URL_FLAG],
    examples: ["slicer-proxy resume --all"],
    load: async () => (await import("./cmd_client.ts")).resumeAll,
  },
];

/** In the order of the overview. */
export const RULE_COMMANDS: readonly CommandSpec[] = [
  {
    name: "allow",
    summary: "add a rule to a client, after those that it has or before one; the first that matches decides",
    arguments: [RULE_CLIENT],
    flags: [
      ...RULE_FLAGS.map(allowFlag),
      {
        name: "profile",
        placeholder: "PROFILE",
        description:
          "add the rules of a profile (npm, or npm@1) instead of one; see slicer-proxy profiles list",
        offers: PROFILE_NAMES,
      },
      { name: "yes", description: "with --profile: add its rules without asking" },
      { name: "dry-run", description: "with --profile: only show its rules" },
      {
        name: "ttl",
        placeholder: "DURATION",
        description: "how long the rule lives: 90s, 15m, 1h, 7d; none means for ever",
      },
      { name: "first", description: "put it before all rules that the client has" },
      { name: "before", placeholder: "N", description: "put it before the client's rule N, counted from 1" },
      ...WORD_FLAGS,
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy allow ci-1 --host api.github.com --method GET --path '/repos/*' --ttl 1h",
      "slicer-proxy allow ci-1 --host llm.example.com --secret llm-key",
      "slicer-proxy allow ci-1 --host ssh.example.com --port 22 --passthrough",
      "slicer-proxy allow ci-1 --host api.example.com --path '/admin/*' --secret admin-key --first",
      "slicer-proxy allow ci-1 --profile npm --ttl 1h",
    ],
    load: async () => (await import("./cmd_allow.ts")).run,
  },
  {
    name: "deny",
    summary: "add a rule that denies what it matches, before rules that would allow it",
    arguments: [RULE_CLIENT],
    flags: [
      ...RULE_FLAGS.filter(({ name }) => name !== "secret" && name !== "passthrough"),
      { name: "ttl", placeholder: "DURATION", description: "how long the rule lives; none means for ever" },
      { name: "first", description: "put it before all rules that the client has" },
      { name: "before", placeholder: "N", description: "put it before the client's rule N, counted from 1" },
      ...CONDITION_FLAGS,
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy deny ci-1 --host api.github.com --method DELETE --first",
      "slicer-proxy deny ci-1 --host '*.internal.example.com' --before 2",
    ],
    load: async () => (await import("./cmd_allow.ts")).deny,
  },
  {
    name: "rules move",
    summary: "put one of a client's rules before another; the first that matches decides",
    arguments: [
      RULE_CLIENT,
      { name: "N", description: "the rule, counted from 1 as rules lists them" },
    ],
    flags: [
      { name: "before", placeholder: "M", description: "put it before the client's rule M" },
      { name: "first", description: "put it before all others" },
      { name: "last", description: "put it behind all others" },
      URL_FLAG,
    ],
    examples: ["slicer-proxy rules move ci-1 4 --before 2", "slicer-proxy rules move ci-1 4 --first"],
    load: async () => (await import("./cmd_rules.ts")).move,
  },
  {
    name: "revoke",
    summary: "remove every rule of a host, or with further flags exactly one rule",
    arguments: [RULE_CLIENT],
    flags: [
      ...RULE_FLAGS,
      { name: "ttl", placeholder: "DURATION", description: "ignored, so that the flags of allow may stay" },
      ...WORD_FLAGS,
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy revoke ci-1 --host api.github.com",
      "slicer-proxy revoke ci-1 --host api.github.com --method GET --path '/repos/*'",
    ],
    load: async () => (await import("./cmd_revoke.ts")).run,
  },
  {
    name: "rules",
    summary: "list a client's rules in the order in which they are tried",
    arguments: [RULE_CLIENT],
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy rules ci-1"],
    load: async () => (await import("./cmd_rules.ts")).run,
  },
  {
    name: "profiles list",
    summary: "list the profiles: named sets of rules for well-known programs",
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy profiles list"],
    load: async () => (await import("./cmd_profiles.ts")).list,
  },
  {
    name: "profiles show",
    summary: "show the rules of a profile, and where they come from",
    arguments: [{ name: "PROFILE", description: "npm, or npm@1 for a version", offers: PROFILE_NAMES }],
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy profiles show npm"],
    load: async () => (await import("./cmd_profiles.ts")).show,
  },
];
