// deno-lint-ignore-file no-console
/** The completion scripts in the shells that they are for. What is typed stands left, what the shell then offers right. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Program } from "../support/program.ts";

const ROWS: readonly (readonly [typed: string, offers: readonly string[]])[] = [
  ["slicer-proxy cl", ["client"]],
  ["slicer-proxy client ", ["budget", "create", "delete", "list", "resume", "rotate", "suspend"]],
  ["slicer-proxy proxy client cr", ["create"]],
  ["slicer-proxy help al", ["allow"]],
  ["slicer-proxy allow ci-1 --meth", ["--method"]],
  ["slicer-proxy allow x --host client --por", ["--port"]],
  ["slicer-proxy up --mode ", ["audit", "strict"]],
  ["slicer-proxy up --ca-dir sub", ["subfolder"]],
  ["slicer-proxy secret create x --type bea", ["bearer"]],
  ["slicer-proxy secret create x --value-file sub", ["subfolder"]],
  ["slicer-proxy completion f", ["fish"]],
];

/** Runs one script of a shell in a folder with a completion file and a folder named subfolder. */
async function inShell(shell: "bash" | "zsh" | "fish", script: string): Promise<string | undefined> {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${dir}/subfolder`);
    await Deno.writeTextFile(`${dir}/completion`, await new Program(dir).ok(["completion", shell]));
    const { stdout, stderr } = await new Deno.Command(shell, {
      args: [...(shell === "bash" ? ["--norc"] : shell === "zsh" ? ["-f"] : ["--no-config"]), "-c", script],
      cwd: dir,
      clearEnv: true,
      env: { HOME: dir, PATH: Deno.env.get("PATH") ?? "", TERM: "dumb" },
    }).output();
    assertEquals(new TextDecoder().decode(stderr), "");
    return new TextDecoder().decode(stdout);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.log(`skipped: there is no ${shell}`);
    return undefined;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function wordsOf(typed: string): string {
  return typed.split(" ").map((word) => `'${word}'`).join(" ");
}

/** The offers of each row, a line each. */
function assertOffers(lines: readonly string[]): void {
  const actual = lines.map((line) =>
    line.split(" ").filter((word) => word !== "").map((word) => word.replace(/\/$/, ""))
  );
  assertEquals(actual.map((words) => words.sort()), ROWS.map(([, offers]) => [...offers].sort()));
}

Deno.test("completion bash completes in bash", async () => {
  const rows = ROWS.map(([typed]) =>
    `COMP_WORDS=(${
      wordsOf(typed)
    }); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _slicer_proxy; echo "\${COMPREPLY[*]}"`
  );
  const split =
    `COMP_WORDS=(slicer-proxy up --mode = a); COMP_CWORD=4; _slicer_proxy; echo "\${COMPREPLY[*]}"`;
  const output = await inShell(
    "bash",
    ["source ./completion", ...rows, split, "complete -p slicer-proxy"].join("\n"),
  );
  if (output === undefined) return;
  const lines = output.trimEnd().split("\n");
  assertStringIncludes(lines.pop() ?? "", "-F _slicer_proxy slicer-proxy");
  assertEquals(lines.pop(), "audit", "--mode=a, which bash splits");
  assertOffers(lines);
});

Deno.test("completion fish completes in fish", async () => {
  const rows = ROWS.map(([typed]) => `echo (complete -C '${typed}' | string replace -r '\\t.*' '')`);
  const output = await inShell("fish", ["source ./completion", ...rows].join("\n"));
  if (output !== undefined) assertOffers(output.trimEnd().split("\n"));
});

Deno.test("completion zsh completes in zsh", async () => {
  // A terminal inside zsh, with a person's keys; a widget prints the line once Tab has completed it.
  const single = ROWS.filter(([, offers]) => offers.length === 1);
  const output = await inShell(
    "zsh",
    `zmodload zsh/zpty
cat > setup <<'END'
PS1=
unsetopt zle_bracketed_paste
autoload -Uz compinit
compinit -D -u
source ./completion
show() { print -r -- ">>$BUFFER<<"; BUFFER=; zle accept-line }
zle -N show
bindkey '^X' show
echo ready
END
zpty z zsh -f -i
zpty -w z 'source ./setup'; zpty -r -m z line '*ready*'
${
      single.map(([typed]) =>
        `zpty -w -n z '${typed}'$'\\t\\x18'; zpty -r -m z line '*>>*<<*'; print -r -- "$line"`
      )
        .join("\n")
    }
zpty -d z`,
  );
  if (output === undefined) return;
  const lines = [...output.matchAll(/>>(.*?)<</g)].map((match) =>
    (match[1] ?? "").trimEnd().replace(/\/$/, "")
  );
  assertEquals(lines, single.map(([typed, [offer]]) => typed.replace(/[^ ]*$/, offer ?? "")));
  assert(lines.length > 5);
});
