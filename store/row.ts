/**
 * Reading one row of the state file. Rows come from disk, so every field is checked: a row of the wrong shape is
 * damage, never a default.
 *
 * Not here: what the fields mean (`clients.ts`, `secrets.ts`, `rules.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";

/** The fields of one row. Every getter throws ProxyError `state.damaged` when the field is not of its type. */
export class RowReader {
  readonly #what: string;
  readonly #fields: object;

  /** @param what names the row for the error, such as `client "ci-1"` */
  constructor(what: string, value: unknown) {
    this.#what = what;
    if (typeof value !== "object" || value === null) this.#fail("it is no record");
    this.#fields = value;
  }

  #get(field: string): unknown {
    return Object.hasOwn(this.#fields, field) ? Reflect.get(this.#fields, field) : undefined;
  }

  string(field: string): string {
    const value = this.#get(field);
    return typeof value === "string" ? value : this.#fail(field);
  }

  optionalString(field: string): string | undefined {
    return this.#get(field) === undefined ? undefined : this.string(field);
  }

  /** A finite number: all numbers in rows are times, ports or counts. */
  number(field: string): number {
    const value = this.#get(field);
    return typeof value === "number" && Number.isFinite(value) ? value : this.#fail(field);
  }

  optionalNumber(field: string): number | undefined {
    return this.#get(field) === undefined ? undefined : this.number(field);
  }

  boolean(field: string): boolean {
    const value = this.#get(field);
    return typeof value === "boolean" ? value : this.#fail(field);
  }

  optionalBoolean(field: string): boolean | undefined {
    return this.#get(field) === undefined ? undefined : this.boolean(field);
  }

  bytes(field: string): Uint8Array<ArrayBuffer> {
    const value = this.#get(field);
    // A copy: Web Crypto takes no bytes that may be shared memory, and the type says so.
    return value instanceof Uint8Array ? new Uint8Array(value) : this.#fail(field);
  }

  strings(field: string): readonly string[] {
    const value = this.#get(field);
    return Array.isArray(value) && value.every((item) => typeof item === "string")
      ? value
      : this.#fail(field);
  }

  optionalStrings(field: string): readonly string[] | undefined {
    return this.#get(field) === undefined ? undefined : this.strings(field);
  }

  numbers(field: string): readonly number[] {
    const value = this.#get(field);
    return Array.isArray(value) && value.every((item) => typeof item === "number")
      ? value
      : this.#fail(field);
  }

  #fail(problem: string): never {
    throw new ProxyError("state.damaged", `Cannot read the row of ${this.#what}: bad ${problem}`, {
      hint: "restore the state folder from a backup",
    });
  }
}
