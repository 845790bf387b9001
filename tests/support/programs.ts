/** Programs of the machine that tests run. */

/** True when a program can be started here; otherwise says that tests which need it are skipped. */
export function hasProgram(name: string): boolean {
  const places = name.startsWith("/")
    ? [name]
    : (Deno.env.get("PATH") ?? "").split(":").map((dir) => `${dir}/${name}`);
  const isHere = places.some((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });
  if (!isHere) {
    Deno.stderr.writeSync(new TextEncoder().encode(`skipping tests that need ${name}: it is not here\n`));
  }
  return isHere;
}

/** What a program did. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, at most `ms`. */
export async function runProgram(
  name: string,
  args: readonly string[],
  { input, env, cwd, ms = 30_000 }: {
    readonly input?: string;
    readonly env?: Readonly<Record<string, string>>;
    readonly cwd?: string;
    readonly ms?: number;
  } = {},
): Promise<Outcome> {
  const child = new Deno.Command(name, {
    args: [...args],
    // What the machine has set for its own way out must not lead a test there.
    env: {
      http_proxy: "",
      https_proxy: "",
      HTTPS_PROXY: "",
      HTTP_PROXY: "",
      ALL_PROXY: "",
      all_proxy: "",
      NO_PROXY: "",
      no_proxy: "",
      ...env,
    },
    ...(cwd === undefined ? {} : { cwd }),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), ms);
  try {
    const output = child.output();
    const writer = child.stdin.getWriter();
    if (input !== undefined) await writer.write(new TextEncoder().encode(input)).catch(() => {});
    await writer.close().catch(() => {});
    const { code, stdout, stderr } = await output;
    return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
  } finally {
    clearTimeout(timer);
  }
}
