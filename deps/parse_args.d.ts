// Declarations of `@std/cli/parse-args` 1.x for the options that this project passes.
export interface ParseOptions {
  readonly string?: readonly string[];
  readonly boolean?: readonly string[];
  readonly collect?: readonly string[];
  readonly alias?: Readonly<Record<string, string>>;
  readonly "--"?: boolean;
  readonly stopEarly?: boolean;
  readonly unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}
export interface Args {
  readonly _: readonly (string | number)[];
  readonly [flag: string]: unknown;
}
export declare function parseArgs(args: readonly string[], options?: ParseOptions): Args;
