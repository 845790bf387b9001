/**
 * What the demonstration says, and whether everything was as it should be.
 *
 * @module
 */

/** Takes text for the terminal. */
export type Write = (text: string) => void;

/** Collects steps and what was wrong in them. */
export class Report {
  readonly #write: Write;
  readonly #problems: string[] = [];
  #step = 0;
  #title = "start";

  constructor(write: Write) {
    this.#write = write;
  }

  /** One step of the story. What it throws ends the story; hand it to {@linkcode fail}. */
  async step(title: string, run: () => Promise<void>): Promise<void> {
    this.#step++;
    this.#title = title;
    const before = this.#problems.length;
    this.#write(`\n${this.#step}. ${title}\n`);
    await run();
    if (this.#problems.length === before) this.#write("   ok\n");
  }

  /** Notes what was thrown as a problem of the present step. */
  fail(error: unknown): void {
    this.#wrong(error instanceof Error ? error.message : String(error));
  }

  /** Words between the facts. */
  say(text: string): void {
    this.#write(`   ${text}\n`);
  }

  /** Lines under a label. */
  show(label: string, lines: readonly string[]): void {
    for (const [i, line] of lines.entries()) {
      this.#write(`   ${(i === 0 ? label : "").padEnd(LABEL_WIDTH)} ${line}\n`);
    }
  }

  /** Notes a problem unless `holds`. */
  expect(what: string, holds: boolean): void {
    if (!holds) this.#wrong(`expected: ${what}`);
  }

  /** The last line, and the exit code. */
  finish(): number {
    if (this.#problems.length === 0) {
      this.#write(`\nAll ${this.#step} steps went as they should.\n`);
      return 0;
    }
    this.#write(`\nNot as it should be:\n${this.#problems.map((each) => `   ${each}\n`).join("")}`);
    return 1;
  }

  #wrong(what: string): void {
    this.#problems.push(`step ${this.#step} (${this.#title}): ${what}`);
    this.#write(`   WRONG ${what}\n`);
  }
}

const LABEL_WIDTH = 15;
