/**
 * The flags that say where a fleet's store is; `up` and the commands of `store` share them.
 *
 * @module
 */
import type { FlagSpec } from "../command/command.ts";

/** Which fleet, where. */
export const STORE_FLAGS: readonly FlagSpec[] = [
  {
    name: "store",
    placeholder: "URL",
    description:
      "share the policy with other hosts: postgres://USER@HOST[,HOST2]/DATABASE?sslmode=verify-full",
  },
  {
    name: "store-password-file",
    placeholder: "FILE",
    description: "the password of the store's user, read at each connection",
  },
  {
    name: "store-ca",
    placeholder: "FILE",
    description: "the CA of the store's certificate, instead of the public ones",
  },
  {
    name: "fleet",
    placeholder: "NAME",
    description: "which fleet of the database",
    default: "default",
  },
];
