/**
 * What the program may do, for the compiled binary and for `deno task start` alike. It may read, write and dial anything,
 * because where the state is and what is dialled is known only at run time; all else is named one by one. Programs are named by
 * whole paths, for a name would be looked up in the caller's PATH; the proxy keeps only `ip` of them (`dropProgramRights()`).
 *
 * @module
 */
import { PROGRAM_PATHS } from "../agent/programs.ts";
import { GUARDED_VARIABLES } from "../cli/up/environment.ts";
import { LIBC_PATHS } from "../core/native.ts";

/** What commands are told by variables, and which roots the runtime trusts. */
const VARIABLES = [
  "HOME",
  "SLICER_URL",
  "SLICER_TOKEN",
  "SLICER_TOKEN_FILE",
  "SLICER_CA_FILE",
  "DENO_TLS_CA_STORE",
  "NODE_V8_COVERAGE", // node:child_process asks for it
  // Of the helper in a VM: the proxy it is to use, and what `agent doctor` looks at.
  "HTTPS_PROXY",
  "https_proxy",
  "PATH",
  "REQUESTS_CA_BUNDLE",
  "SSL_CERT_FILE",
  "PGAPPNAME", // the PostgreSQL driver looks at it, whatever it is told; `store/postgres/link.ts` has the last word
];

/** The proxy's own addresses, whether a credential's file belongs to this user, and a host's name in its fleet. */
const SYSTEM = ["networkInterfaces", "uid", "hostname"];

/**
 * The flags.
 *
 * @param os as `Deno.build.os` has it; without it, those of every system
 */
export function permissionFlags(os?: "linux" | "darwin", arch?: "x86_64" | "aarch64"): readonly string[] {
  const libraries = os && arch ? LIBC_PATHS[`${os}-${arch}`] ?? [] : Object.values(LIBC_PATHS).flat();
  return [
    "--no-prompt",
    "--allow-net",
    "--allow-read",
    "--allow-write",
    `--allow-sys=${SYSTEM.join(",")}`,
    ...(os === "darwin" ? [] : [`--allow-run=${PROGRAM_PATHS.join(",")}`]),
    `--allow-env=${[...VARIABLES, ...GUARDED_VARIABLES].join(",")}`,
    `--allow-ffi=${[...new Set(libraries)].join(",")}`,
  ];
}
