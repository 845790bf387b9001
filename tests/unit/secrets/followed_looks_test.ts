/** When files of static secrets are looked at and read, with the store and the time in the hands of the test. */
import { assert, assertEquals } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import type { Credential } from "../../../secrets/credential.ts";
import { FollowedFiles } from "../../../secrets/followed_files.ts";
import type { SecretRecord, SecretUpdate } from "../../../store/records.ts";
import { FakeClock } from "../../support/fake_clock.ts";

class Stage implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly log: string[] = [];
  readonly outcomes: string[] = [];
  readonly bugs: unknown[] = [];
  readonly updates: (readonly [name: string, SecretUpdate])[] = [];
  /** With what the store refuses the next changes. */
  readonly refusals: Error[] = [];
  readonly secrets = new Map<string, { record: SecretRecord; value: string }>();
  readonly files: FollowedFiles;
  readonly dir: string;
  timers = 0;

  constructor(dir: string) {
    this.dir = dir;
    this.files = new FollowedFiles({
      clock: this.clock,
      schedule: (atMs, callback) => {
        this.timers++;
        return this.clock.schedule(atMs, callback);
      },
      log: { warn: (line) => this.log.push(line), error: (line) => this.log.push(`error: ${line}`) },
      reportBug: (error) => this.bugs.push(error),
      onOutcome: (outcome) => this.outcomes.push(outcome),
      source: {
        secretValue: (name) => this.secrets.get(name),
        listSecrets: () => [...this.secrets.values()].map(({ record }) => record),
        updateSecret: (name, update) => {
          this.updates.push([name, update]);
          const refusal = this.refusals.shift();
          const known = this.secrets.get(name);
          if (refusal) return Promise.reject(refusal);
          if (!known || known.record.version !== update.ifVersion) return Promise.resolve(undefined);
          const { error: _, ...rest } = known.record;
          const record = {
            ...rest,
            ...(typeof update.error === "string" ? { error: update.error } : {}),
            ...(update.isReplacement ? { version: `${rest.version}+` } : {}),
          };
          this.secrets.set(name, { record, value: update.value ?? known.value });
          return Promise.resolve(record);
        },
      },
    });
  }

  static async start(): Promise<Stage> {
    return new Stage(await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-looks-" })));
  }

  file(name = "s"): string {
    return `${this.dir}/${name}`;
  }

  /** Writes a file in its place, as of an hour ago unless it `isFresh`. */
  async write(text: string, { name = "s", isFresh = false } = {}): Promise<void> {
    await Deno.writeTextFile(this.file(name), text, { mode: 0o600 });
    const at = new Date(isFresh ? Date.now() + 3_600_000 : 1_700_000_000_000);
    await Deno.utime(this.file(name), at, at);
  }

  /** A secret with this value, whose file is followed. */
  add(value: string, record: Partial<SecretRecord> = {}): SecretRecord {
    const name = record.name ?? "s";
    const uid = Deno.uid();
    const made = {
      ...{ name, host: "a.test", type: "bearer", version: "v1", cleartext: false, createdAt: 1 },
      sourceFile: this.file(name),
      ...(uid === null ? {} : { sourceUid: uid }),
      ...record,
    };
    this.secrets.set(name, { record: made, value });
    return made;
  }

  value(name = "s"): string | undefined {
    return this.secrets.get(name)?.value;
  }

  /** Lets a look begin, and waits until the next one is due. */
  async look(): Promise<void> {
    const before = this.timers;
    this.clock.advance(2_000);
    await this.until(() => this.timers > before);
  }

  async until(isSo: () => boolean): Promise<void> {
    for (let i = 0; !isSo(); i++) {
      if (i > 2_000) throw new Error(`did not happen: ${this.log.join(" | ")}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.files[Symbol.asyncDispose]();
    await Deno.remove(this.dir, { recursive: true });
  }
}

const credentialOf = ({ name, version }: SecretRecord): Credential => ({
  ...{ secret: name, version, host: "a.test", cleartext: false },
  ...{ headers: [], material: [] },
});

Deno.test("FollowedFiles.has() is true for a static secret whose absolute file was on this machine", () => {
  const record: SecretRecord = {
    ...{ name: "s", host: "a.test", type: "bearer", version: "v1", cleartext: false, createdAt: 1 },
    ...{ sourceFile: "/run/key", sourceUid: 0 },
  };
  const { sourceFile: _file, ...without } = record;
  const { sourceUid: _uid, ...away } = record;
  assertEquals([record, { ...record, type: "mtls" }].map(FollowedFiles.has), [true, true]);
  assertEquals(
    [without, away, { ...record, sourceFile: "key" }, { ...record, type: "oauth-claude" }].map(
      FollowedFiles.has,
    ),
    [
      false,
      false,
      false,
      false,
    ],
  );
});

Deno.test("a look every two seconds, for as long as there is something to follow", async () => {
  await using stage = await Stage.start();
  const { files, clock } = stage;
  stage.add("a");
  files.arm();
  assertEquals(clock.due, []); // not started
  await stage.write("a");
  files.start();
  await stage.until(() => stage.timers === 1);
  files.arm();
  files.arm();
  assertEquals(clock.due, [clock.now() + 2_000]);
  await stage.look();
  assertEquals(clock.due, [clock.now() + 2_000]);
  stage.secrets.clear();
  clock.advance(2_000);
  await files[Symbol.asyncDispose]();
  assertEquals([stage.timers, clock.due], [2, []]);
  stage.add("a");
  files.arm();
  assertEquals([stage.timers, stage.updates], [2, []]); // closed
});

Deno.test("without a file to follow nothing runs", async () => {
  await using stage = await Stage.start();
  stage.add("a", { type: "oauth-claude" });
  stage.files.start();
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 0));
  stage.files.arm();
  assertEquals([stage.timers, stage.clock.due], [0, []]);
  stage.add("a");
  stage.files.arm();
  assertEquals(stage.timers, 1);
});

Deno.test("an end cancels the next look, and waits for the one under way", async () => {
  await using stage = await Stage.start();
  stage.add("a");
  await stage.write("b");
  stage.files.start();
  await stage.files[Symbol.asyncDispose]();
  assertEquals([stage.value(), stage.clock.due], ["a", []]); // closed before it had begun
  await using other = await Stage.start();
  other.add("a");
  await other.write("a");
  other.files.start();
  await other.until(() => other.timers === 1);
  await other.files[Symbol.asyncDispose]();
  assertEquals(other.clock.due, []);
});

Deno.test("a new content is a replacement of the version that was read", async () => {
  await using stage = await Stage.start();
  stage.add("a", { error: "old trouble" });
  await stage.write("b\n");
  stage.files.start();
  await stage.until(() => stage.timers === 1);
  assertEquals(stage.updates, [["s", { ifVersion: "v1", isReplacement: true, value: "b", error: null }]]);
  assertEquals([stage.outcomes, stage.log], [["adopted"], [
    "secret s: its file has changed, and the new bearer is used",
  ]]);
  await stage.look();
  assertEquals(stage.updates.length, 1);
});

Deno.test("the same content changes nothing, but an error that is over goes", async () => {
  await using stage = await Stage.start();
  stage.add("a");
  stage.add("b", { name: "t", error: "old trouble" });
  await stage.write("a");
  await stage.write("b", { name: "t" });
  stage.files.start();
  await stage.until(() => stage.timers === 1);
  assertEquals(stage.updates, [["t", { ifVersion: "v1", error: null }]]);
  assertEquals([stage.outcomes, stage.log], [[], []]);
});

Deno.test("a file is read again when it looks different, or was written a moment ago", async (t) => {
  // The content changes under the same look: the same file, of the same size and time.
  for (const isFresh of [false, true]) {
    await t.step(isFresh ? "a moment ago" : "long ago", async () => {
      await using stage = await Stage.start();
      stage.add("a");
      const at = new Date(isFresh ? Date.now() + 3_600_000 : 1_700_000_000_000);
      const write = async (text: string) => {
        await Deno.writeTextFile(stage.file(), text, { mode: 0o600 });
        await Deno.utime(stage.file(), at, at);
      };
      await write("a");
      stage.files.start();
      await stage.until(() => stage.timers === 1);
      await write("b");
      await stage.look();
      assertEquals(stage.value(), isFresh ? "b" : "a");
    });
  }
  const changes: readonly (readonly [name: string, change: (file: string) => Promise<void>])[] = [
    ["another time", (file) => Deno.utime(file, new Date(1_700_000_001_000), new Date(1_700_000_001_000))],
    ["another mode", (file) => Deno.chmod(file, 0o400)],
  ];
  for (const [name, change] of changes) {
    await t.step(name, async () => {
      await using stage = await Stage.start();
      stage.add("a");
      await stage.write("a");
      stage.files.start();
      await stage.until(() => stage.timers === 1);
      await stage.write("b");
      await change(stage.file());
      await stage.look();
      assertEquals(stage.value(), "b");
    });
  }
  await t.step("another size", async () => {
    await using stage = await Stage.start();
    stage.add("a");
    await stage.write("a");
    stage.files.start();
    await stage.until(() => stage.timers === 1);
    await stage.write("bb");
    await stage.look();
    assertEquals(stage.value(), "bb");
  });
});

Deno.test("what was just replaced by hand is looked at anew", async () => {
  await using stage = await Stage.start();
  stage.add("a");
  await stage.write("a");
  stage.files.start();
  await stage.until(() => stage.timers === 1);
  stage.add("by hand", { version: "v2" });
  await stage.look();
  assertEquals([stage.value(), stage.updates[0]?.[1].ifVersion], ["a", "v2"]);
});

Deno.test("a secret that goes and comes back is read anew", async () => {
  await using stage = await Stage.start();
  stage.add("a");
  stage.add("t", { name: "t" });
  await stage.write("a");
  await stage.write("t", { name: "t" });
  stage.files.start();
  await stage.until(() => stage.timers === 1);
  stage.secrets.delete("s");
  await stage.look();
  stage.add("other");
  await stage.look();
  assertEquals([stage.value(), stage.value("t")], ["a", "t"]);
});

Deno.test("a file that cannot be used is said once, and the value of before is used", async () => {
  await using stage = await Stage.start();
  stage.add("a");
  await stage.write("");
  const { lstat } = Deno;
  let looks = 0;
  Deno.lstat = (path) => (looks++, lstat(path));
  try {
    stage.files.start();
    await stage.until(() => stage.timers === 1);
  } finally {
    Deno.lstat = lstat;
  }
  assertEquals(looks, 4 * 2); // it may be being written: each of four readings looks for links, and at the file
  const words =
    "its file is not followed now, and the value of before is used: Cannot use this bearer token: it is empty";
  assertEquals(stage.updates, [["s", { ifVersion: "v1", error: words }]]);
  assertEquals([stage.outcomes, stage.log], [["failed"], [`secret s: ${words}`]]);
  await stage.write("", { isFresh: true });
  await stage.look();
  assertEquals([stage.updates.length, stage.outcomes.length], [1, 1]);
});

Deno.test("what was replaced while its file was read is left alone", async () => {
  for (const text of ["b", ""]) {
    await using stage = await Stage.start();
    const record = stage.add("a");
    await stage.write(text);
    const { lstat } = Deno;
    Deno.lstat = (path) => {
      stage.add("by hand", { version: "v2" });
      return lstat(path);
    };
    try {
      stage.files.hurry(credentialOf(record));
      await stage.files[Symbol.asyncDispose]();
    } finally {
      Deno.lstat = lstat;
    }
    assertEquals([stage.value(), stage.updates, stage.outcomes], ["by hand", [], []]);
  }
});

Deno.test("what cannot be stored is in the log, and tried again at the next look", async () => {
  await using stage = await Stage.start();
  stage.add("a");
  await stage.write("b");
  stage.refusals.push(new ProxyError("state.write-failed", "disk is full"));
  stage.files.start();
  await stage.until(() => stage.timers === 1);
  assertEquals(stage.log[0], "error: secret s: what its file holds cannot be stored: disk is full");
  await stage.look();
  assertEquals([stage.value(), stage.bugs], ["b", []]);
});

Deno.test("a bug is reported, and the looks go on", async () => {
  await using stage = await Stage.start();
  stage.add("a");
  await stage.write("b");
  const bug = new RangeError("bug");
  stage.refusals.push(bug);
  stage.files.start();
  await stage.until(() => stage.timers === 1);
  await stage.until(() => stage.bugs.length === 1);
  await stage.write("cc");
  await stage.look();
  assertEquals([stage.bugs, stage.value()], [[bug], "cc"]);
});

Deno.test("hurry() reads a file at once, whatever it looks like, and once in five seconds", async () => {
  await using stage = await Stage.start();
  stage.add("a");
  await stage.write("a");
  stage.files.start();
  await stage.until(() => stage.timers === 1);
  const record = stage.add("a");
  const { stat } = Deno;
  let looks = 0;
  Deno.stat = (path) => {
    if (path === stage.file()) looks++;
    return stat(path);
  };
  try {
    const hurry = async (expected: number, of: SecretRecord = record) => {
      stage.files.hurry(credentialOf(of));
      await new Promise((resolve) => setTimeout(resolve, 0));
      await stage.until(() => looks >= expected);
      assertEquals(looks, expected);
    };
    await hurry(1);
    await hurry(1);
    await hurry(1, { ...record, version: "v0" });
    await hurry(1, { ...record, name: "nobody" });
    const { sourceUid: _, ...away } = stage.add("x", { name: "away" });
    stage.secrets.set("away", { record: away, value: "x" });
    await hurry(1, away);
    stage.clock.advance(1_999);
    await hurry(1);
    // Past a look, which is none of these: the file looks as it did.
    await stage.look();
    const after = looks;
    stage.clock.advance(5_000 - 3_999 - 1);
    await hurry(after);
    stage.clock.advance(1);
    await hurry(after + 1);
    await stage.files[Symbol.asyncDispose]();
    stage.clock.advance(60_000);
    await hurry(looks);
  } finally {
    Deno.stat = stat;
  }
  assert(stage.updates.length === 0);
});
