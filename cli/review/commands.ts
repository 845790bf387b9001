/**
 * The rows of commands by which a workload is watched, and its rules are learned, reviewed and kept.
 *
 * @module
 */
import type { CommandSpec, FlagSpec } from "../command/command.ts";
import { JSON_FLAG, URL_FLAG } from "../command/common_flags.ts";
import { TLS_FILTERS } from "../../policy/record_filter.ts";

const SINCE_FLAG: FlagSpec = {
  name: "since",
  placeholder: "TIME",
  description: "only from then on: 90s, 15m, 1h, 7d ago, or a time like 2026-01-02T15:04:05Z",
};
const DENIED_CLIENT = { name: "CLIENT", description: "the client that was denied something" };

/** In the order of the overview. */
export const REVIEW_COMMANDS: readonly CommandSpec[] = [
  {
    name: "logs",
    summary: "show the audit log: who was allowed and denied what, and live with --follow",
    flags: [
      {
        name: "follow",
        short: "f",
        description: "go on with what comes; without --since and --limit after the last 10",
      },
      {
        name: "fleet",
        description: "of all hosts of the fleet, by time; those that do not answer are named",
      },
      { name: "client", placeholder: "CLIENT", description: "only this client; - is nobody" },
      { name: "denied", description: "only what was denied" },
      {
        name: "host",
        placeholder: "HOST",
        description: "only this host: api.example.com, *.example.com or an IP address",
      },
      SINCE_FLAG,
      {
        name: "src",
        placeholder: "SOURCE",
        description: "only from there: 10.0.0.5, 10.0.0.0/24, or 10.0.0.5:40312 for one connection",
      },
      { name: "proxy-port", placeholder: "PORT", description: "only what came to this port of the proxy" },
      {
        name: "tls",
        placeholder: "VERSION",
        description: "only clients with this version of TLS, or in clear",
        choices: TLS_FILTERS,
      },
      { name: "limit", placeholder: "N", description: "only the newest N of what is stored" },
      JSON_FLAG,
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy logs -f",
      "slicer-proxy logs --denied --client ci-1 --since 1h",
      "slicer-proxy logs -f --fleet --denied",
      "slicer-proxy logs --json > audit.jsonl",
    ],
    load: async () => (await import("./cmd_logs.ts")).run,
  },
  {
    name: "mode",
    summary: "switch between strict and audit mode while the proxy runs, for a client or all; or show it",
    arguments: [{
      name: "MODE",
      description:
        "audit logs what is asked of unknown hosts before it denies it; strict refuses them at once",
      choices: ["strict", "audit"],
      isOptional: true,
    }],
    flags: [
      { name: "client", placeholder: "CLIENT", description: "this client alone; all when left out" },
      {
        name: "for",
        placeholder: "DURATION",
        description: "how long: 15m, 1h; none means until the next switch",
      },
      JSON_FLAG,
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy mode audit --client ci-1 --for 15m",
      "slicer-proxy mode strict",
      "slicer-proxy mode",
    ],
    load: async () => (await import("./cmd_mode.ts")).run,
  },
  {
    name: "explain",
    summary: "what would be decided about a request, by which rule, and why not by the others",
    arguments: [
      { name: "CLIENT", description: "the client that would ask" },
      { name: "METHOD", description: "GET, POST or another" },
      { name: "URL", description: "as the client would ask for it: https://api.example.com/v1/models" },
    ],
    flags: [JSON_FLAG, URL_FLAG],
    examples: [
      "slicer-proxy explain ci-1 GET https://api.github.com/repos/acme/site",
      "slicer-proxy explain ci-1 POST https://api.github.com/graphql --json",
    ],
    load: async () => (await import("./cmd_explain.ts")).run,
  },
  {
    name: "suggest",
    summary: "propose the narrowest rules that allow what a client was denied",
    arguments: [DENIED_CLIENT],
    flags: [
      { name: "apply", description: "add them" },
      {
        name: "ttl",
        placeholder: "DURATION",
        description: "how long they live: 90s, 15m, 1h, 7d; none means for ever",
      },
      SINCE_FLAG,
      {
        name: "exact",
        description:
          "only the paths that were asked for: no /* where identifiers vary, and nothing that git, npm, " +
          "pip, cargo, go or apt is known to ask for next",
      },
      {
        name: "format",
        placeholder: "FORMAT",
        description: "commands, or lines of a policy file",
        choices: ["text", "yaml"],
        default: "text",
      },
      JSON_FLAG,
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy suggest ci-1",
      "slicer-proxy suggest ci-1 --since 15m --apply --ttl 7d",
    ],
    load: async () => (await import("./cmd_suggest.ts")).run,
  },
  {
    name: "test",
    summary: "show what a policy file would change; exit code 1 when it would deny more",
    flags: [
      {
        name: "file",
        short: "f",
        placeholder: "FILE",
        description: "the policy file, or - for standard input",
        isRequired: true,
      },
      {
        name: "against",
        placeholder: "FILE",
        description:
          "the audit log as JSON lines, or - for standard input; without it the running proxy's own",
      },
      SINCE_FLAG,
      JSON_FLAG,
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy test -f policy.yaml --against audit.jsonl",
      "slicer-proxy test -f policy.yaml --since 7d",
    ],
    load: async () => (await import("./cmd_test.ts")).run,
  },
  {
    name: "apply",
    summary: "make clients and rules what a policy file says; print new clients' tokens",
    flags: [
      {
        name: "file",
        short: "f",
        placeholder: "FILE",
        description: "the policy, YAML or JSON; - reads standard input",
        isRequired: true,
      },
      { name: "dry-run", description: "only show what would change" },
      {
        name: "prune",
        description:
          "delete the rules and clients that the file does not have; without it rules stay behind the file's",
      },
      JSON_FLAG,
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy apply -f policy.yaml --dry-run --prune",
      "slicer-proxy apply -f policy.yaml",
    ],
    load: async () => (await import("./cmd_apply.ts")).run,
  },
  {
    name: "export",
    summary: "print clients, rules and references to secrets as a policy file",
    flags: [
      JSON_FLAG,
      { name: "schema", description: "print the JSON Schema of policy files instead, for editors" },
      URL_FLAG,
    ],
    examples: ["slicer-proxy export > policy.yaml"],
    load: async () => (await import("./cmd_export.ts")).run,
  },
  {
    name: "ui",
    summary: "print the address of the web page, with a code that works once",
    flags: [
      {
        name: "manage",
        description: "the page may also revoke rules, suspend clients and decide about requests that wait",
      },
      URL_FLAG,
    ],
    examples: ["slicer-proxy ui", "slicer-proxy ui --manage"],
    load: async () => (await import("./cmd_ui.ts")).run,
  },
];
