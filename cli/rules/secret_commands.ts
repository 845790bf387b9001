/**
 * The rows of commands about secrets.
 *
 * @module
 */
import { type CommandSpec, splitCommas } from "../command/command.ts";
import { JSON_FLAG, URL_FLAG } from "../command/common_flags.ts";

const SECRET_NAME = { name: "NAME", description: "the secret" };

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

/** In the order of the overview. */
export const SECRET_COMMANDS: readonly CommandSpec[] = [
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
    load: async () => (await import("./cmd_secret.ts")).createSecret,
  },
  {
    name: "secret list",
    summary: "list the secrets, without their values",
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy secret list"],
    load: async () => (await import("./cmd_secret.ts")).listSecrets,
  },
  {
    name: "secret show",
    summary: "show a secret without its value: the rules that use it, and when it was last used",
    arguments: [SECRET_NAME],
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy secret show llm-key"],
    load: async () => (await import("./cmd_secret_use.ts")).showSecret,
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
    load: async () => (await import("./cmd_secret_use.ts")).testSecret,
  },
  {
    name: "secret delete",
    summary: "delete a secret; rules that name it stay, and deny",
    arguments: [SECRET_NAME],
    flags: [URL_FLAG],
    examples: ["slicer-proxy secret delete llm-key"],
    load: async () => (await import("./cmd_secret.ts")).deleteSecret,
  },
  {
    name: "seal-key rotate",
    summary: "seal everything with another key, while the proxy goes on",
    flags: [
      {
        name: "key-file",
        placeholder: "FILE",
        description:
          "take the key of this file of the proxy's host, and leave it there; one is made without it",
      },
      JSON_FLAG,
      URL_FLAG,
    ],
    examples: ["slicer-proxy seal-key rotate", "slicer-proxy seal-key rotate --key-file /run/keys/mk2"],
    load: async () => (await import("./cmd_seal_key.ts")).rotateSealKey,
  },
  {
    name: "seal-key status",
    summary: "say which seal key is in force, and in a fleet how far another one is",
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy seal-key status"],
    load: async () => (await import("./cmd_seal_key.ts")).showSealKey,
  },
  {
    name: "seal-key cancel",
    summary: "give up a seal key of a fleet that is not in force yet",
    flags: [URL_FLAG],
    examples: ["slicer-proxy seal-key cancel"],
    load: async () => (await import("./cmd_seal_key.ts")).cancelSealKey,
  },
];
