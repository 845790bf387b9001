/**
 * `kill -9` at random points loses nothing that was acknowledged, and leaves no token or secret value in any file.
 * `SLICER_KILLS` sets the number of kills.
 */
import { assert, assertEquals } from "@std/assert";
import { systemClock } from "../../core/clock.ts";
import { State } from "../../store/state.ts";
import { type Acknowledged, stepOf } from "./kill9_child.ts";

const KILLS = Number(Deno.env.get("SLICER_KILLS") ?? 8);

/** The state as the parent knows it: clients with token and rule hosts, secrets with values. */
class Model {
  clients = new Map<string, { token: string | undefined; hosts: string[] }>();
  secrets = new Map<string, string>();

  copy(): Model {
    const copy = new Model();
    for (const [name, { token, hosts }] of this.clients) copy.clients.set(name, { token, hosts: [...hosts] });
    copy.secrets = new Map(this.secrets);
    return copy;
  }

  /** @param token undefined when the step was not acknowledged, so that nobody knows the token */
  apply(round: number, n: number, token: string | undefined): void {
    const step = stepOf(round, n);
    if (step.do === "put") {
      this.secrets.set(step.secret, step.value);
      return;
    }
    const client = this.clients.get(step.client) ?? { token, hosts: [] };
    this.clients.set(step.client, client);
    if (step.do === "rotate") client.token = token;
    if (step.do === "delete") this.clients.delete(step.client);
    if (step.do === "allow") client.hosts.push(step.host);
    if (step.do === "revoke") client.hosts = client.hosts.filter((host) => host !== step.host);
  }

  /** Everything but the tokens, which the state does not give away. */
  snapshot(): unknown {
    const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => a < b ? -1 : 1;
    return {
      clients: [...this.clients].map(([name, { hosts }]) => [name, hosts] as const).sort(byName),
      secrets: [...this.secrets].sort(byName),
    };
  }
}

function snapshotOf(state: State): unknown {
  return {
    clients: state.listClients().map(({ name }) => [name, state.listRules(name).map(({ host }) => host)]),
    secrets: state.listSecrets().map(({ name }) => [name, state.secretValue(name)?.value]),
  };
}

/**
 * Runs the child and kills it: `delayMs` after it was started, or after its first line.
 *
 * @returns what it acknowledged, in order
 */
async function runAndKill(dir: string, round: number, { delayMs, afterFirst }: {
  delayMs: number;
  afterFirst: boolean;
}): Promise<Acknowledged[]> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--unstable-kv",
      `--allow-read=${dir}`,
      `--allow-write=${dir}`,
      new URL("./kill9_child.ts", import.meta.url).pathname,
      dir,
      String(round),
    ],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const startTimer = () => timer ??= setTimeout(() => child.kill("SIGKILL"), delayMs);
  if (!afterFirst) startTimer();
  let output = "";
  const errors = new Response(child.stderr).text();
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    output += text;
    startTimer();
  }
  clearTimeout(timer);
  const { signal } = await child.status;
  assertEquals(signal, "SIGKILL", await errors);
  await errors;
  // The last line may be torn: it was not acknowledged then.
  return output.split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

/** All bytes of all files below a folder, as one Latin-1 text. */
async function allBytes(dir: string): Promise<string> {
  let text = "";
  for await (const { name } of Deno.readDir(dir)) {
    text += new TextDecoder("latin1").decode(await Deno.readFile(`${dir}/${name}`));
  }
  return text;
}

/** A text in every form in which it could stand in a file. */
function formsOf(secret: string): string[] {
  const hex = [...new TextEncoder().encode(secret)].map((byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
  // Base64 of the text at each of the three alignments, less the characters that its neighbours change.
  const base64 = ["", "x", "xx"].map((before) => btoa(before + secret).slice(before.length + 1, -4));
  return [secret, [...secret].join("\0"), hex, hex.toUpperCase(), ...base64];
}

Deno.test("State keeps every acknowledged write through kill -9, and no secret in any byte", async () => {
  const root = await Deno.makeTempDir({ prefix: "slicer-kill9-" });
  const dir = `${root}/state`;
  let model = new Model();
  let acknowledgedInAll = 0;
  const planted = new Set<string>();
  try {
    for (let round = 0; round < KILLS; round++) {
      const afterFirst = round % 4 !== 1;
      const delayMs = Math.random() * (afterFirst ? 150 : 400); // the latter falls around the opening
      const acknowledged = await runAndKill(dir, round, { delayMs, afterFirst });
      acknowledgedInAll += acknowledged.length;
      for (const { n, token } of acknowledged) {
        model.apply(round, n, token);
        if (token) planted.add(token);
        const step = stepOf(round, n);
        if (step.do === "put") planted.add(step.value);
      }
      const bytes = await allBytes(root + "/state").catch(() => "");
      for (const secret of planted) {
        for (const form of formsOf(secret)) {
          assert(!bytes.includes(form), `round ${round}: ${form} is on the disk`);
        }
      }
      await using state = await State.open({ dir, clock: systemClock() });
      // One more step may be on the disk: committed, but killed before its line was written.
      const withNext = model.copy();
      withNext.apply(round, acknowledged.length, undefined);
      const actual = snapshotOf(state);
      const isNextThere = JSON.stringify(actual) === JSON.stringify(withNext.snapshot());
      if (isNextThere) model = withNext;
      assertEquals(actual, model.snapshot(), `round ${round}, after ${acknowledged.length} steps`);
      for (const [name, { token }] of model.clients) {
        if (token !== undefined) assertEquals(state.clientByToken(token)?.name, name);
      }
    }
    assert(
      acknowledgedInAll > KILLS,
      `only ${acknowledgedInAll} steps were acknowledged: nothing was tested`,
    );
    const bytes = await allBytes(dir);
    assert(bytes.includes("r0-c0"), "a name is not found either: the search looks in the wrong place");
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
