/**
 * Replays one transcript in one way of cutting its bytes.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { assertEquals } from "@std/assert";
import type { RuleInput } from "../../policy/rule.ts";
import { Engine } from "./harness.ts";
import { type PipeEnd, settle } from "./pipe.ts";
import {
  describeClientBytes,
  escapeBytes,
  type Outcome,
  type UpstreamScript,
  type WireCase,
} from "./transcript.ts";

/** Where the bytes are cut: nowhere, everywhere, or at one place of the client's or the upstreams' bytes. */
export type Cut =
  | { readonly kind: "whole" | "bytes" }
  | { readonly kind: "client" | "upstream"; readonly at: number };

/** Every way to cut the bytes of a case. */
export function* cutsOf(wire: WireCase): Generator<Cut> {
  yield { kind: "whole" };
  yield { kind: "bytes" };
  for (let at = 1; at < wire.client.length; at++) yield { kind: "client", at };
  const said = wire.upstreams.flatMap(({ steps }) => steps).reduce((sum, { says }) => sum + says.length, 0);
  for (let at = 1; at < said; at++) yield { kind: "upstream", at };
}

/** Replays, and throws when anything differs from every outcome of the case. */
export async function replay(wire: WireCase, cut: Cut): Promise<void> {
  const upstreams = new Upstreams(wire.upstreams, cut);
  let outcome: Outcome;
  let pooled: number;
  {
    await using engine = new Engine({
      limits: wire.limits,
      mode: wire.mode,
      onDial: (stream, index) => upstreams.serve(stream, index),
    });
    for (const { header, ...secret } of wire.secrets) {
      engine.policy.setCredential({ ...secret, secret: secret.name, headers: [header] });
    }
    for (const rule of wire.rules.length > 0 ? wire.rules : [{ host: "up.test" }]) {
      engine.policy.allow("one", ruleOf(rule));
    }
    const client = engine.connect(wire.tunnel);
    const got = collect(client);
    for (const piece of pieces(wire.client, cut.kind === "upstream" ? { kind: "whole" } : cut)) {
      await client.write(Buffer.from(piece, "latin1")).catch(() => {}); // refused already
      await settle();
    }
    await upstreams.settled();
    pooled = engine.context.pool.size;
    const { end } = got;
    client.close();
    await settle();
    await engine.context.audit.flush();
    outcome = {
      client: describeClientBytes(got.text),
      audit: engine.lines.map((line) => `! ${line.replace(/ duration=\S+/, "")}`),
      end,
    };
    upstreams.close();
  }
  upstreams.check();
  assertEquals(pooled, wire.pooled, "idle upstream connections");
  const fits = wire.outcomes.some((expected) => matches(outcome, expected));
  if (!fits) assertEquals<unknown>(outcome, wire.outcomes.length === 1 ? wire.outcomes[0] : wire.outcomes);
}

function ruleOf(
  { host = "up.test", methods, paths, ports, secret, passthrough }: Readonly<Record<string, string>>,
): RuleInput {
  return {
    host,
    ...(methods ? { methods: methods.split(",") } : {}),
    ...(paths ? { paths: paths.split(",") } : {}),
    ...(ports ? { ports: ports.split(",").map(Number) } : {}),
    ...(secret ? { secret } : {}),
    ...(passthrough ? { passthrough: true } : {}),
  };
}

function pieces(text: string, cut: Cut): string[] {
  if (text === "") return [];
  if (cut.kind === "bytes") return [...text];
  return "at" in cut && cut.at < text.length ? [text.slice(0, cut.at), text.slice(cut.at)] : [text];
}

function matches(actual: Outcome, expected: Outcome): boolean {
  return actual.end === expected.end && actual.client.join("\n") === expected.client.join("\n") &&
    actual.audit.length === expected.audit.length &&
    actual.audit.every((line, i) => {
      const parts = (expected.audit[i] ?? "").split("…").map((part) =>
        part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
      );
      return new RegExp(`^${parts.join(".*")}$`).test(line);
    });
}

/** What a stream has brought, and how it has ended. */
interface Collected {
  text: string;
  end: Outcome["end"];
}

/** Reads a stream until it ends. */
function collect(stream: PipeEnd): Collected {
  const got: Collected = { text: "", end: "open" };
  const buffer = new Uint8Array(65_536);
  const next = async (): Promise<void> => {
    for (;;) {
      const count = await stream.read(buffer);
      if (count === null) break;
      got.text += Buffer.from(buffer.subarray(0, count)).toString("latin1");
    }
    got.end = "closed";
  };
  next().catch((error) => {
    if (error instanceof Deno.errors.UnexpectedEof) got.end = "cut";
  });
  return got;
}

/** The scripted upstreams of one replay. */
class Upstreams {
  readonly #scripts: readonly UpstreamScript[];
  readonly #cut: Cut;
  readonly #seen: Collected[] = [];
  readonly #streams: PipeEnd[] = [];
  #said = 0;
  /** Writes under way, so that a replay knows when nothing more comes. */
  #busy = 0;

  constructor(scripts: readonly UpstreamScript[], cut: Cut) {
    this.#scripts = scripts;
    this.#cut = cut;
  }

  serve(stream: PipeEnd, index: number): void {
    const seen = collect(stream);
    this.#seen[index] = seen;
    this.#streams.push(stream);
    const script = this.#scripts[index];
    if (script) this.#play(stream, seen, script);
  }

  /** Lets everything happen. */
  async settled(): Promise<void> {
    for (let quiet = 0, before = -1; quiet < 3; quiet++) {
      await settle();
      const now = this.#seen.reduce((sum, { text }) => sum + text.length, this.#said);
      if (now !== before || this.#busy > 0) quiet = 0;
      before = now;
    }
  }

  close(): void {
    for (const stream of this.#streams) stream.close();
  }

  /** Every connection of the script was opened, no other, and each saw exactly its bytes. */
  check(): void {
    assertEquals(
      this.#seen.map(({ text }, i) => this.#isGoodStart(text, i) ? this.#expected(i) : lines(text)),
      this.#scripts.map((_script, i) => this.#expected(i)),
      "what upstreams saw",
    );
  }

  #expected(index: number): string[] {
    return lines(this.#scripts[index]?.steps.map(({ sees }) => sees).join("") ?? "");
  }

  #isGoodStart(text: string, index: number): boolean {
    const steps = this.#scripts[index]?.steps ?? [];
    const must = steps.filter(({ mayStop }) => !mayStop).reduce((sum, { sees }) => sum + sees.length, 0);
    return steps.at(-1)?.mayStop === true && text.length >= must &&
      steps.map(({ sees }) => sees).join("").startsWith(text);
  }

  async #play(stream: PipeEnd, seen: Collected, { steps }: UpstreamScript): Promise<void> {
    let due = 0;
    for (const { sees, says, ends } of steps) {
      due += sees.length;
      while (seen.text.length < due) {
        if (stream.ended !== "no" || seen.end !== "open") return;
        await settle();
      }
      this.#busy++;
      const start = this.#said;
      this.#said += says.length;
      const cut: Cut = this.#cut.kind === "upstream"
        ? { kind: "upstream", at: this.#cut.at - start }
        : { kind: this.#cut.kind === "bytes" ? "bytes" : "whole" };
      for (const piece of pieces(says, "at" in cut && cut.at <= 0 ? { kind: "whole" } : cut)) {
        await stream.write(Buffer.from(piece, "latin1")).catch(() => {});
        await settle();
      }
      if (ends === "EOF") stream.close();
      if (ends === "CUT") stream.abort();
      await settle();
      this.#busy--;
    }
  }
}

function lines(text: string): string[] {
  return text === "" ? [] : text.split(/(?<=\r\n)/).map((line) => `>> ${escapeBytes(line)}`);
}
