import { assertEquals, assertRejects } from "@std/assert";
import { openAuditPlaces } from "../../../../cli/up/audit_places.ts";
import { Output, OutputClosed } from "../../../../cli/terminal/output.ts";
import { ProxyError } from "../../../../core/errors.ts";
import type { StoredRecord } from "../../../../policy/audit_record.ts";
import { fakeIo } from "../terminal/fake_io.ts";

const TEXT = "deny client=c repeated=2\n";
const JSON_LINE = '{"v":1,"time":"1970-01-01T00:00:00.000Z","verdict":"deny","client":"c","repeated":2}\n';
const RECORD: StoredRecord = { verdict: "deny", client: "c", timeMs: 0, repeated: 2 };

async function withFolder(work: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-places-" });
  try {
    await work(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("openAuditPlaces() writes the store as JSON, the log and stdout in their format", async (t) => {
  for (const [logFormat, line] of [["text", TEXT], ["json", JSON_LINE]] as const) {
    await t.step(logFormat, () =>
      withFolder(async (dir) => {
        const io = fakeIo();
        await using places = await openAuditPlaces(
          { stateDir: dir, logFile: `${dir}/audit.log`, logFormat },
          io.output,
        );
        await places.sink.write([RECORD]);
        assertEquals(await Deno.readTextFile(`${dir}/audit.jsonl`), JSON_LINE);
        assertEquals(await Deno.readTextFile(`${dir}/audit.log`), line);
        assertEquals(io.stdout(), line);
      }));
  }
});

Deno.test("openAuditPlaces() does not need a stdout, but both of its files", () =>
  withFolder(async (dir) => {
    await Deno.mkdir(`${dir}/logs`);
    const output = new Output(() => {
      throw new OutputClosed("");
    }, () => {});
    await using places = await openAuditPlaces(
      { stateDir: dir, logFile: "/dev/full", logFormat: "text" },
      output,
    );
    await assertRejects(() => places.sink.write([RECORD]));
    await assertRejects(() => places.sink.write([RECORD, { ...RECORD }]));
    // The store has what it got, once.
    assertEquals(await Deno.readTextFile(`${dir}/audit.jsonl`), JSON_LINE.repeat(2));
    await using others = await openAuditPlaces(
      { stateDir: `${dir}/logs`, logFile: `${dir}/audit.log`, logFormat: "text" },
      output,
    );
    await others.sink.write([RECORD]);
    await others.sink.write([RECORD]);
    assertEquals(await Deno.readTextFile(`${dir}/audit.log`), TEXT.repeat(2));
  }));

Deno.test("openAuditPlaces() refuses a log file that is the store's, by whatever name", async (t) => {
  await withFolder(async (dir) => {
    await Deno.mkdir(`${dir}/state`);
    await Deno.writeTextFile(`${dir}/state/audit.jsonl`, "");
    await Deno.symlink(`${dir}/state/audit.jsonl`, `${dir}/link`);
    await Deno.symlink(`${dir}/state`, `${dir}/folder`);
    const rows: [name: string, isRefused: boolean][] = [
      ["state/audit.jsonl", true],
      ["state/../state/audit.jsonl", true],
      ["state/audit.jsonl.1", true],
      ["state/audit.jsonl.new", true],
      ["folder/audit.jsonl.2", true],
      ["link", true],
      ["state/audit.jsonl.txt", false],
      ["state/audit.json", false],
      ["audit.jsonl", false],
    ];
    for (const [name, isRefused] of rows) {
      await t.step(name, async () => {
        const open = () =>
          openAuditPlaces(
            { stateDir: `${dir}/state`, logFile: `${dir}/${name}`, logFormat: "json" },
            fakeIo().output,
          );
        if (isRefused) {
          assertEquals(
            (await assertRejects(open, ProxyError, "Cannot use --log-file")).code,
            "input.invalid",
          );
        } else await (await open())[Symbol.asyncDispose]();
      });
    }
  });
});

Deno.test("openAuditPlaces() says what to do when a file cannot be opened, and leaves nothing open", () =>
  withFolder(async (dir) => {
    const open = (stateDir: string, logFile: string) => () =>
      openAuditPlaces({ stateDir, logFile, logFormat: "text" }, fakeIo().output);
    const log = await assertRejects(open(dir, `${dir}/none/audit.log`), ProxyError);
    assertEquals([log.code, log.hint?.includes("--log-file")], ["audit.write-failed", true]);
    const store = await assertRejects(open(`${dir}/none`, `${dir}/audit.log`), ProxyError);
    assertEquals([store.code, store.hint?.includes("--log-file")], ["audit.write-failed", false]);
  }));
