/**
 * The command table. A new command is one row here and one file; help, parsing and completion follow.
 *
 * @module
 */
import { CONDITION_FLAGS, WORD_FLAGS } from "../api/rule_words.ts";
import { AGENT_COMMANDS, PLACED_CA } from "../agent/commands.ts";
import { type CommandSpec, type FlagSpec, splitCommas, splitPaths } from "./command.ts";
import { JSON_FLAG, URL_FLAG } from "./common_flags.ts";
import { PROFILES } from "../../policy/profile.ts";
import { REVIEW_COMMANDS } from "../review/commands.ts";
import { UP_FLAGS } from "../up/flags.ts";

const CLIENT_NAME = { name: "NAME", description: "the client" };
const SECRET_NAME = { name: "NAME", description: "the secret" };
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

const CA_FLAGS: readonly FlagSpec[] = [
  {
    name: "hostgroup",
    placeholder: "NAME",
    description: "the host group that the CA is for; the only one under ./.slicer/ca, else sbox",
  },
  {
    name: "ca-dir",
    placeholder: "DIR",
    description: "the folder of ca.crt and ca.key, instead of ./.slicer/ca/HOSTGROUP",
  },
];

/** Both logins talk to a server that may be a company's own. */
const PROVIDER_CA_FLAG: FlagSpec = {
  name: "ca-file",
  placeholder: "FILE",
  description: "trust the certificates in this PEM file too",
};

/** The values of `secret create --type`. */
const SECRET_TYPES: readonly string[] = [
  "bearer",
  "basic",
  "basic-auth",
  "header",
  "query",
  "path",
  "mtls",
  "oauth-claude",
  "oauth-codex",
  "oauth-github-copilot",
  "oauth-xai",
  "oauth-client-creds",
  "oauth-refresh",
  "oauth-jwt-bearer",
  "google-service-account",
  "github-app-user",
  "github-app",
  "aws",
];

/** Every command, in the order of the overview. */
export const COMMANDS: readonly CommandSpec[] = [
  {
    name: "up",
    summary: "run the proxy",
    flags: UP_FLAGS,
    examples: [
      "sudo slicer-proxy up --hostgroup sbox --bind 192.168.222.1 --deny-cidr 192.168.1.0/24 --mode=audit",
      "slicer-proxy up --bind 0.0.0.0 --san 192.168.64.1 --seal-key-file ~/keys/slicer-proxy.key",
    ],
    load: async () => (await import("../up/cmd_up.ts")).run,
  },
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
    load: async () => (await import("../rules/cmd_client.ts")).createClient,
  },
  {
    name: "client list",
    summary: "list the clients",
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy client list"],
    load: async () => (await import("../rules/cmd_client.ts")).listClients,
  },
  {
    name: "client rotate",
    summary: "give a client a new token and print it; the old one ends at once",
    arguments: [CLIENT_NAME],
    flags: [URL_FLAG],
    examples: ["TOKEN=$(slicer-proxy client rotate ci-1)"],
    load: async () => (await import("../rules/cmd_client.ts")).rotateClient,
  },
  {
    name: "client delete",
    summary: "delete a client, its token and its rules",
    arguments: [CLIENT_NAME],
    flags: [URL_FLAG],
    examples: ["slicer-proxy client delete ci-1"],
    load: async () => (await import("../rules/cmd_client.ts")).deleteClient,
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
      { name: "none", description: "end what was said before" },
      JSON_FLAG,
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy client budget ci-1 --requests 1000/h --bytes-up 100M/d",
      "slicer-proxy client budget ci-1",
    ],
    load: async () => (await import("../rules/cmd_budget.ts")).run,
  },
  {
    name: "client suspend",
    summary: "end all that a client has open, and refuse it everything until it is resumed",
    arguments: [CLIENT_NAME],
    flags: [URL_FLAG],
    examples: ["slicer-proxy client suspend ci-1"],
    load: async () => (await import("../rules/cmd_client.ts")).suspendClient,
  },
  {
    name: "client resume",
    summary: "let a suspended client go on, with its token and rules as they were",
    arguments: [CLIENT_NAME],
    flags: [URL_FLAG],
    examples: ["slicer-proxy client resume ci-1"],
    load: async () => (await import("../rules/cmd_client.ts")).resumeClient,
  },
  {
    name: "requests list",
    summary: "list the requests that wait for a person (allow --ask)",
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy requests list"],
    load: async () => (await import("../rules/cmd_requests.ts")).listRequests,
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
    load: async () => (await import("../rules/cmd_requests.ts")).approveRequest,
  },
  {
    name: "requests deny",
    summary: "refuse a waiting request",
    arguments: [REQUEST_ID],
    flags: [URL_FLAG],
    examples: ["slicer-proxy requests deny 3f9a1c2b7d40"],
    load: async () => (await import("../rules/cmd_requests.ts")).denyRequest,
  },
  {
    name: "suspend",
    summary: "the kill switch: end all that is open, and refuse every client everything",
    flags: [ALL_FLAG, URL_FLAG],
    examples: ["slicer-proxy suspend --all"],
    load: async () => (await import("../rules/cmd_client.ts")).suspendAll,
  },
  {
    name: "resume",
    summary: "let all clients go on but those that were suspended by name",
    flags: [ALL_FLAG, URL_FLAG],
    examples: ["slicer-proxy resume --all"],
    load: async () => (await import("../rules/cmd_client.ts")).resumeAll,
  },
  {
    name: "secret create",
    summary: "store an upstream credential, sealed; on a terminal its value is asked for",
    arguments: [SECRET_NAME],
    flags: [
      {
        name: "host",
        placeholder: "HOST",
        description: "the only host that gets it: api.example.com or *.example.com",
        isRequired: true,
      },
      {
        name: "type",
        placeholder: "TYPE",
        description: "what the value is",
        choices: SECRET_TYPES,
        default: "bearer",
      },
      {
        name: "value-file",
        placeholder: "FILE",
        description: "read the value from a file, or from standard input with -",
      },
      {
        name: "from-file",
        placeholder: "FILE",
        description: "like --value-file, and follow the file: what is written to it later is used",
      },
      {
        name: "value",
        placeholder: "VALUE",
        description: "the value itself; others on this machine can see it",
      },
      {
        name: "passphrase-file",
        placeholder: "FILE",
        description: "opens the encrypted private key of a client certificate (mtls)",
      },
      { name: "force", description: "replace a secret of that name; rules go on using it" },
      {
        name: "env",
        placeholder: "NAME",
        description:
          "a variable that stands for it in a VM, beside those of known tools; see slicer-proxy env",
        isRepeatable: true,
        split: splitCommas,
      },
      { name: "cleartext", description: "inject it without TLS too, wherever it goes" },
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy secret create llm-key --host api.example.com --value-file ./key.txt",
      "slicer-proxy secret create claude --host api.anthropic.com --type oauth-claude " +
      "--value-file ~/.claude/.credentials.json",
    ],
    load: async () => (await import("../rules/cmd_secret.ts")).createSecret,
  },
  {
    name: "secret list",
    summary: "list the secrets, without their values",
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy secret list"],
    load: async () => (await import("../rules/cmd_secret.ts")).listSecrets,
  },
  {
    name: "secret show",
    summary: "show a secret without its value: the rules that use it, and when it was last used",
    arguments: [SECRET_NAME],
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy secret show llm-key"],
    load: async () => (await import("../rules/cmd_secret_use.ts")).showSecret,
  },
  {
    name: "secret test",
    summary: "try a secret with one harmless GET, on the way that requests take",
    arguments: [SECRET_NAME],
    flags: [
      {
        name: "at",
        placeholder: "URL",
        description:
          "what to ask for; needed where no harmless call is known. A secret path goes where {} is",
      },
      JSON_FLAG,
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy secret test claude",
      "slicer-proxy secret test llm-key --at https://api.example.com/v1/models",
    ],
    load: async () => (await import("../rules/cmd_secret_use.ts")).testSecret,
  },
  {
    name: "secret delete",
    summary: "delete a secret; rules that name it stay, and deny",
    arguments: [SECRET_NAME],
    flags: [URL_FLAG],
    examples: ["slicer-proxy secret delete llm-key"],
    load: async () => (await import("../rules/cmd_secret.ts")).deleteSecret,
  },
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
    load: async () => (await import("../rules/cmd_allow.ts")).run,
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
    load: async () => (await import("../rules/cmd_allow.ts")).deny,
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
    load: async () => (await import("../rules/cmd_rules.ts")).move,
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
    load: async () => (await import("../rules/cmd_revoke.ts")).run,
  },
  {
    name: "rules",
    summary: "list a client's rules in the order in which they are tried",
    arguments: [RULE_CLIENT],
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy rules ci-1"],
    load: async () => (await import("../rules/cmd_rules.ts")).run,
  },
  {
    name: "profiles list",
    summary: "list the profiles: named sets of rules for well-known programs",
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy profiles list"],
    load: async () => (await import("../rules/cmd_profiles.ts")).list,
  },
  {
    name: "profiles show",
    summary: "show the rules of a profile, and where they come from",
    arguments: [{ name: "PROFILE", description: "npm, or npm@1 for a version", offers: PROFILE_NAMES }],
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy profiles show npm"],
    load: async () => (await import("../rules/cmd_profiles.ts")).show,
  },
  {
    name: "env",
    summary: "print what a VM of a client needs: proxy and CA variables, placeholders for its secrets",
    arguments: [{ name: "CLIENT", description: "the client" }],
    flags: [
      {
        name: "format",
        placeholder: "FORMAT",
        description: "to be sourced, for a file of variables, for a program, or as user data of a VM",
        choices: ["sh", "dotenv", "json", "cloud-init"],
        default: "sh",
      },
      {
        name: "token",
        placeholder: "TOKEN",
        description: "the client's token, which the proxy does not keep",
      },
      {
        name: "token-file",
        placeholder: "FILE",
        description: "read that token from a file, or from standard input with -",
      },
      { name: "rotate", description: "give the client a new token; the old one ends at once" },
      {
        name: "proxy",
        placeholder: "HOST",
        description: "where VMs find the proxy, instead of what it is bound to",
      },
      { name: "plain", description: "HTTPS_PROXY without TLS, for programs that take no https:// proxy" },
      {
        name: "ca",
        placeholder: "FILE",
        description: "in the VM: the proxy's CA",
        default: "/runner/ca.crt",
      },
      {
        name: "ca-bundle",
        placeholder: "FILE",
        description: "in the VM: all that it trusts, with that CA among them",
        default: "/etc/ssl/certs/ca-certificates.crt",
      },
      {
        name: "user",
        placeholder: "NAME",
        description: "whose home gets the files of tools, with cloud-init",
        default: "ubuntu",
      },
      URL_FLAG,
    ],
    examples: [
      "slicer-proxy env ci-1 --token-file ./token > vm.env.sh",
      "slicer-proxy env ci-1 --rotate --format cloud-init > user-data",
    ],
    load: async () => (await import("../env/cmd_env.ts")).run,
  },
  ...REVIEW_COMMANDS,
  {
    name: "oauth xai",
    summary: "log in to xAI and print JSON for secret create",
    flags: [
      {
        name: "port",
        placeholder: "PORT",
        description: "where the browser comes back to, on 127.0.0.1; 0 takes any free port",
        default: "56121",
      },
      { name: "device", description: "log in with a code on any device, without a callback" },
      {
        name: "issuer",
        placeholder: "URL",
        description: "another provider of the same kind, for tests and enterprises",
        default: "https://auth.x.ai",
      },
      PROVIDER_CA_FLAG,
    ],
    examples: [
      "slicer-proxy oauth xai > xai.json",
      "slicer-proxy oauth xai --device | slicer-proxy secret create xai --host api.x.ai --type oauth-xai --value-file -",
    ],
    load: async () => (await import("../oauth/cmd_xai.ts")).run,
  },
  {
    name: "oauth github-app-user",
    summary: "log in to a GitHub App and print JSON for secret create",
    flags: [
      {
        name: "client-id",
        placeholder: "ID",
        description: "the app's client id; its device flow has to be enabled",
        isRequired: true,
      },
      {
        name: "github-url",
        placeholder: "URL",
        description: "the server, for GitHub Enterprise",
        default: "https://github.com",
      },
      PROVIDER_CA_FLAG,
    ],
    examples: ["slicer-proxy oauth github-app-user --client-id Iv1.0123456789abcdef > github.json"],
    load: async () => (await import("../oauth/cmd_github.ts")).run,
  },
  {
    name: "status",
    summary: "show whether the proxy is up and what it holds; in a VM, the helper's state",
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy status"],
    load: async () => (await import("../review/cmd_status.ts")).run,
  },
  {
    name: "ca init",
    summary: "make the certificate authority of a host group",
    flags: [
      { name: "force", description: "replace one that exists: every guest has to trust the new one" },
      ...CA_FLAGS,
    ],
    examples: ["slicer-proxy ca init --hostgroup sbox"],
    load: async () => (await import("../rules/cmd_ca.ts")).initCa,
  },
  {
    name: "ca issue",
    summary: "write a certificate and its key, signed by the host group's CA",
    flags: [
      {
        name: "host",
        placeholder: "HOST",
        description: "a name or address that the certificate is for",
        isRequired: true,
        isRepeatable: true,
        split: splitCommas,
      },
      { name: "out", placeholder: "NAME", description: "writes NAME.crt and NAME.key", isRequired: true },
      ...CA_FLAGS,
    ],
    examples: ["slicer-proxy ca issue --host registry.internal --out ./registry"],
    load: async () => (await import("../rules/cmd_ca.ts")).issueCertificate,
  },
  {
    name: "ca show",
    summary: "describe the host group's CA; in a VM, the one that the helper has installed",
    arguments: [PLACED_CA],
    flags: [JSON_FLAG, ...CA_FLAGS],
    examples: ["slicer-proxy ca show --hostgroup sbox"],
    load: async () => (await import("../rules/cmd_ca.ts")).showCa,
  },
  {
    name: "completion",
    summary: "print what a shell needs to complete commands and flags",
    arguments: [{ name: "SHELL", description: "bash, zsh or fish", choices: ["bash", "zsh", "fish"] }],
    examples: [
      "source <(slicer-proxy completion bash)",
      "slicer-proxy completion fish",
    ],
    load: async () => (await import("./cmd_completion.ts")).completionOf(COMMANDS),
  },
  ...AGENT_COMMANDS,
  {
    name: "version",
    summary: "print the version",
    flags: [JSON_FLAG],
    examples: ["slicer-proxy version"],
    load: async () => (await import("./cmd_version.ts")).run,
  },
];
