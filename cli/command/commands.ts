/**
 * The command table. A new command is one row here and one file; help, parsing and completion follow.
 *
 * @module
 */
import { AGENT_COMMANDS, PLACED_CA } from "../agent/commands.ts";
import { type CommandSpec, type FlagSpec, splitCommas } from "./command.ts";
import { JSON_FLAG, URL_FLAG } from "./common_flags.ts";
import { CLIENT_COMMANDS, RULE_COMMANDS } from "../rules/commands.ts";
import { SECRET_COMMANDS } from "../rules/secret_commands.ts";
import { REVIEW_COMMANDS } from "../review/commands.ts";
import { STORE_COMMANDS } from "../store/commands.ts";
import { UP_FLAGS } from "../up/flags.ts";

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
  ...CLIENT_COMMANDS,
  ...SECRET_COMMANDS,
  ...RULE_COMMANDS,
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
  ...STORE_COMMANDS,
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
    summary: "describe the host group's CA that is in use; in a VM, the one that the helper has installed",
    arguments: [PLACED_CA],
    flags: [JSON_FLAG, ...CA_FLAGS, URL_FLAG],
    examples: ["slicer-proxy ca show", "slicer-proxy ca show --hostgroup sbox"],
    load: async () => (await import("../rules/cmd_ca.ts")).showCa,
  },
  {
    name: "ca import",
    summary: "take the host group's CA into the store, sealed: every host of a fleet signs by it",
    flags: [
      {
        name: "from",
        placeholder: "DIR",
        description: "the folder of ca.crt and ca.key; else ./.slicer/ca/HOSTGROUP",
      },
      {
        name: "hostgroup",
        placeholder: "NAME",
        description: "the host group that the CA is for, instead of the proxy's own",
      },
      {
        name: "replace",
        description:
          "in the place of a newer certificate, or of a CA with another key: VMs trust no host until they have that",
      },
      JSON_FLAG,
      URL_FLAG,
    ],
    examples: ["slicer-proxy ca import", "slicer-proxy ca import --from ./new-ca --replace"],
    load: async () => (await import("../rules/cmd_ca_import.ts")).importCa,
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
