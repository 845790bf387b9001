/**
 * A store that gives the answers which a test puts into it, for what a host makes of rows. Whether the questions are right is
 * for the tests with a server.
 *
 * @module
 */
import type { LineLog } from "../../../../core/log.ts";
import type { PostgresDatabase } from "../../../../store/postgres/database.ts";
import type { Answer } from "../../../../store/postgres/link.ts";

/** One question and its parameters. */
export interface Asked {
  readonly sql: string;
  readonly parameters: readonly unknown[];
}

/** Answers in turn; nothing when none is left. An error is thrown. */
export function answeringStore(
  answers: (readonly Answer[] | Error)[] = [],
): {
  readonly db: PostgresDatabase;
  readonly asked: Asked[];
  readonly answers: (readonly Answer[] | Error)[];
} {
  const asked: Asked[] = [];
  const query = (sql: string, parameters: readonly unknown[] = []) => {
    asked.push({ sql, parameters });
    const answer = answers.shift() ?? [];
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  const db = { fleet: "default", link: { query }, query, sweep: () => query("sweep") };
  return { db: db as unknown as PostgresDatabase, asked, answers };
}

/** What is logged, each line behind its level. */
export function keptLog(): LineLog & { readonly lines: string[] } {
  const lines: string[] = [];
  const to = (level: string) => (line: string) => void lines.push(`${level} ${line}`);
  return { lines, info: to("info"), warn: to("warn"), error: to("error") };
}
