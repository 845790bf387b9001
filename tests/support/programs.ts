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
    clearEnv: true,
    env: { ...ownEnvironment(), ...env },
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

/** Without what the machine has set for its own way out: that must not lead a test there. */
function ownEnvironment(): Record<string, string> {
  return Object.fromEntries(Object.entries(Deno.env.toObject()).filter(([name]) => !/_proxy$/i.test(name)));
}

/** A port that is free now. Somebody else could take it in the meantime; then the test fails and says so. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Waits until something accepts connections there. */
export async function waitForPort(port: number): Promise<void> {
  for (const until = performance.now() + 20_000;;) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch (error) {
      if (performance.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
