/**
 * The records of two files in one order, that of their times.
 *
 * @module
 */
import type { StoredRecord } from "../../policy/audit_record.ts";

/**
 * Both, oldest first, those of `first` before others of the same time; with a `limit` the newest so many. Each has to be in
 * order, and with a limit to have no more than that. Ends both when the reader stops.
 */
export async function* mergeRecords(
  first: AsyncGenerator<StoredRecord>,
  second: AsyncGenerator<StoredRecord>,
  limit?: number,
): AsyncGenerator<StoredRecord> {
  if (limit === undefined) return yield* inOrder(first, second);
  const newest: StoredRecord[] = [];
  for await (const record of inOrder(first, second)) newest.push(record);
  yield* newest.slice(-limit);
}

async function* inOrder(
  first: AsyncGenerator<StoredRecord>,
  second: AsyncGenerator<StoredRecord>,
): AsyncGenerator<StoredRecord> {
  try {
    let [a, b] = [await first.next(), await second.next()];
    while (!a.done && !b.done) {
      if (a.value.timeMs <= b.value.timeMs) {
        yield a.value;
        a = await first.next();
      } else {
        yield b.value;
        b = await second.next();
      }
    }
    for (; !a.done; a = await first.next()) yield a.value;
    for (; !b.done; b = await second.next()) yield b.value;
  } finally {
    await Promise.all([first.return(undefined), second.return(undefined)]);
  }
}
