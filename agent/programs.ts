/**
 * Running the VM's own programs: always by their full path, without a shell, with a small environment.
 *
 * @module
 */
import { exists } from "./files.ts";

const FOLDERS = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/bin", "/usr/local/sbin"];

/** Every program that is run by name here: a release has the right to run these and no others. */
const PROGRAMS = [
  ...["ip", "nft", "iptables", "iptables-restore", "ip6tables", "ip6tables-restore", "systemctl"],
  ...["update-ca-certificates", "update-ca-trust", "trust", "pgrep", "keytool"],
  ...["python3", "git"], // `agent doctor` asks them which certificates they use
  ...["certutil", "mkdir", "rm", "rmdir"], // browsers' stores, as the user whose they are
];

/** What they find in their environment. */
export const SMALL_ENVIRONMENT: Readonly<Record<string, string>> = { PATH: FOLDERS.join(":"), LC_ALL: "C" };

/** This program itself, wherever it lies and whatever it is called. Linux only, as the helper is. */
export const SELF = "/proc/self/exe";

/** All that may be run, as full paths. */
export const PROGRAM_PATHS: readonly string[] = [
  SELF,
  ...FOLDERS.flatMap((folder) => PROGRAMS.map((name) => `${folder}/${name}`)),
];

/** What a program did. */
export interface Ran {
  readonly isOk: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** The full path of a program, or undefined where it is not installed. */
export async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of FOLDERS) {
    if (await exists(`${folder}/${name}`)) return `${folder}/${name}`;
  }
  return undefined;
}

/** Runs a program by name. One that is missing, or may not be run, counts as failed. */
export async function runProgram(
  name: string,
  args: readonly string[],
  { stdin, env, uid, gid, timeoutMs = 60_000 }: {
    readonly stdin?: string;
    readonly env?: Readonly<Record<string, string>>;
    /** Runs it as this user and group, without any other. */
    readonly uid?: number;
    readonly gid?: number;
    readonly timeoutMs?: number;
  } = {},
): Promise<Ran> {
  const path = await findProgram(name);
  if (path === undefined) return failed(`${name} is not installed`);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeoutMs);
  try {
    const child = new Deno.Command(path, {
      args: [...args],
      clearEnv: true,
      // Where a user's folder is the target, no folder of root's is left as the current one.
      ...(uid === undefined ? {} : { uid, cwd: "/" }),
      ...(gid === undefined ? {} : { gid }),
      env: { ...SMALL_ENVIRONMENT, ...env },
      stdin: stdin === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
      signal: late.signal,
    }).spawn();
    if (stdin !== undefined) {
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(stdin)).catch(() => {}); // a program that ended says why itself
      await writer.close().catch(() => {});
    }
    const { success, stdout, stderr } = await child.output();
    return { isOk: success, stdout: text(stdout), stderr: text(stderr) };
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable || error instanceof Deno.errors.PermissionDenied) {
      return failed(`not permitted to run ${path}`);
    }
    if (error instanceof Deno.errors.NotFound) return failed(`${path} cannot be run`);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** The last line that a program wrote about its failure, or that it said nothing. */
export function whyFailed({ stderr, stdout }: Ran): string {
  return `${stdout}\n${stderr}`.trim().split("\n").pop() || "it gave no reason";
}

function failed(stderr: string): Ran {
  return { isOk: false, stdout: "", stderr };
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
