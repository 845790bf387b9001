/**
 * The rows of commands about a fleet's store.
 *
 * @module
 */
import type { CommandSpec, FlagSpec } from "../command/command.ts";
import { JSON_FLAG, URL_FLAG } from "../command/common_flags.ts";
import { STORE_FLAGS } from "./flags.ts";

const ACCESS_FLAGS: readonly FlagSpec[] = STORE_FLAGS.filter(({ name }) => name !== "store");

/** In the order of the overview. */
export const STORE_COMMANDS: readonly CommandSpec[] = [
  {
    name: "fleet",
    summary: "list the hosts that share the policy, and how each of them is",
    flags: [JSON_FLAG, URL_FLAG],
    examples: ["slicer-proxy fleet"],
    load: async () => (await import("../review/cmd_fleet.ts")).run,
  },
  {
    name: "store status",
    summary: "show what a fleet's store holds and which hosts use it",
    flags: [...STORE_FLAGS, JSON_FLAG],
    examples: [
      "slicer-proxy store status --store 'postgres://slicer_proxy@db.internal/slicer_proxy' --store-password-file ./password",
    ],
    load: async () => (await import("./cmd_status.ts")).run,
  },
  {
    name: "store migrate",
    summary: "copy a policy from a state folder into a fleet's store, or back",
    flags: [
      {
        name: "from",
        placeholder: "PLACE",
        description: "a state folder, whose proxy must not run, or a postgres:// address",
        isRequired: true,
      },
      {
        name: "to",
        placeholder: "PLACE",
        description: "the other: a fleet or a folder that has no policy yet",
        isRequired: true,
      },
      ...ACCESS_FLAGS,
      {
        name: "seal-key-file",
        placeholder: "FILE",
        description: "the key that both are sealed with, instead of mk in the folder",
      },
    ],
    examples: [
      "slicer-proxy store migrate --from ./.slicer/proxy --to 'postgres://slicer_proxy@db.internal/slicer_proxy' --store-password-file ./password",
    ],
    load: async () => (await import("./cmd_migrate.ts")).run,
  },
];
