import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { systemClock } from "../../../core/clock.ts";
import { ProxyError } from "../../../core/errors.ts";
import { Credentials, type SecretSource } from "../../../secrets/credentials.ts";
import type { SecretInput, SecretRecord } from "../../../store/records.ts";
import { State } from "../../../store/state.ts";
import { FakeClock } from "../../support/fake_clock.ts";

const INPUT: SecretInput = {
  name: "key",
  host: "*.example.com",
  type: "bearer",
  value: "sk-1",
  cleartext: true,
};

function over(source: SecretSource): Credentials {
  return new Credentials({
    source,
    call: () => Promise.reject(new Error("no call was expected")),
    clock: systemClock(),
    log: { warn: () => {}, error: () => {} },
    reportBug: (error) => {
      throw error;
    },
  });
}

Deno.test("credential() prepares a secret once per version and follows every change", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await using state = await State.open({ dir, clock: systemClock() });
    await using credentials = over(state);
    assertEquals(credentials.credential("key"), undefined);
    assertEquals(credentials.secretInfo("key"), undefined);
    const { version } = await state.putSecret(INPUT, { force: false });
    const first = credentials.credential("key");
    assertEquals(first, {
      secret: "key",
      version,
      host: "*.example.com",
      cleartext: true,
      headers: [["Authorization", "Bearer sk-1"]],
      material: ["sk-1"],
    });
    assertStrictEquals(credentials.credential("key"), first);
    const info = credentials.secretInfo("key");
    assertEquals([info?.host, info?.type, info?.version, info?.cleartext], [
      "*.example.com",
      "bearer",
      version,
      true,
    ]);
    await state.putSecret({ ...INPUT, type: "header", value: "x-key: 2", cleartext: false }, { force: true });
    const second = credentials.credential("key");
    if (!second || second instanceof Promise) throw new Error("not at hand");
    assertEquals(second.headers, [["x-key", "2"]]);
    assertEquals(second.cleartext, false);
    assertEquals(second.version === version, false);
    assertEquals(await credentials.rejected(second, { status: 401 }), undefined);
    await state.deleteSecret("key");
    assertEquals(credentials.credential("key"), undefined);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("credential() says which secret cannot be used, without its value", async (t) => {
  for (const type of ["later-kind", "oauth-claude"]) {
    await t.step(type, () => {
      const record = { name: "key", host: "a.test", type, version: "1", cleartext: false, createdAt: 0 };
      const credentials = over({
        secretValue: () => ({ record, value: "sk-planted" }),
        listSecrets: () => [record],
        updateSecret: () => Promise.resolve(undefined),
        onChange: () => () => {},
      });
      const error = assertThrows(() => credentials.credential("key"), ProxyError, "key");
      assertEquals(error.code, "credential.unavailable");
      assertEquals(error.message.includes("sk-planted"), false);
      assertEquals(error.hint, "create it again with --force");
      assertEquals(credentials.isTokenEndpoint({ host: "a.test", path: "/" }), false);
    });
  }
});

/** Credentials over secrets that a test sets, with a word to whoever listens when it says so. */
function overSecrets(...first: readonly (readonly [record: SecretRecord, value: string])[]) {
  let secrets = first;
  const listeners = new Set<() => void>();
  const clock = new FakeClock();
  const bugs: unknown[] = [];
  const credentials = new Credentials({
    source: {
      secretValue: (name) => {
        const found = secrets.find(([record]) => record.name === name);
        return found && { record: found[0], value: found[1] };
      },
      listSecrets: () => secrets.map(([record]) => record),
      updateSecret: () => Promise.resolve(undefined),
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    call: () => Promise.reject(new Error("no call was expected")),
    clock,
    log: { warn: () => {}, error: () => {} },
    reportBug: (error) => bugs.push(error),
    random: () => 0,
    schedule: clock.schedule,
  });
  return {
    credentials,
    clock,
    bugs,
    listeners,
    set: (...next: typeof first) => void (secrets = next),
    tell: () => listeners.forEach((listener) => listener()),
  };
}

const secret = (fields: Partial<SecretRecord> = {}): SecretRecord => ({
  ...{ name: "login", host: "a.test", type: "oauth-refresh", version: "1", cleartext: false, createdAt: 0 },
  ...fields,
});
/** A login whose token ends at a time of its own. */
const loginThatEnds = (atMs: number, endpoint = "https://login.test/token") =>
  JSON.stringify({
    ...{ token_endpoint: endpoint, client_id: "c", refresh_token: "r", access_token: `t${atMs}` },
    expires_at: atMs,
  });

Deno.test("a login that was replaced is not renewed any more, also before its change was told", async () => {
  const { credentials, clock, set, tell, listeners } = overSecrets();
  const inHours = (hours: number) => loginThatEnds(clock.now() + hours * 3_600_000);
  set([secret(), inHours(1)]);
  const tokenOf = () => {
    const credential = credentials.credential("login");
    return credential instanceof Promise ? undefined : credential?.headers[0]?.[1];
  };
  const first = tokenOf();
  assertStrictEquals(credentials.credential("login"), credentials.credential("login"));
  const [dueFirst] = clock.due;
  assertEquals(clock.due.length, 1);
  set([secret({ version: "2" }), inHours(2)]);
  assertEquals(tokenOf() === first, false);
  assertEquals([clock.due.length, clock.due[0] === dueFirst], [1, false]);
  set([secret({ version: "3" }), inHours(3)]);
  tell();
  assertEquals(clock.due, []); // nobody has asked for it yet, and it was not started
  tokenOf();
  assertEquals(clock.due.length, 1);
  set([secret({ version: "4", type: "bearer" }), "sk-1"]);
  assertEquals([tokenOf(), clock.due], ["Bearer sk-1", []]);
  await credentials[Symbol.asyncDispose]();
  assertEquals(listeners.size, 0);
});

Deno.test("start() renews every login in the background, those of later too, and an end stops all of them", async () => {
  const { credentials, clock, set, tell, bugs } = overSecrets();
  const inAnHour = loginThatEnds(clock.now() + 3_600_000);
  set([secret(), inAnHour], [secret({ name: "key", type: "bearer" }), "sk-1"], [
    ...[secret({ name: "broken" }), "planted"] as const,
  ]);
  tell();
  assertEquals(clock.due.length, 0);
  credentials.start();
  assertEquals(clock.due.length, 1);
  set([secret(), inAnHour], [secret({ name: "second" }), inAnHour]);
  tell();
  assertEquals(clock.due.length, 2);
  set([secret({ name: "second" }), inAnHour]);
  tell();
  assertEquals([clock.due.length, bugs], [1, []]); // what is no login is said to whoever asks for it
  await credentials[Symbol.asyncDispose]();
  assertEquals(clock.due, []);
  tell();
  const { code, message } = assertThrows(() => credentials.credential("second"), ProxyError);
  assertEquals([code, message], [
    "credential.unavailable",
    "Cannot use secret second: the proxy is stopping",
  ]);
  assertEquals(clock.due, []);
});

Deno.test("start() follows files, and an end stops that", async () => {
  const { credentials, clock, set, tell } = overSecrets();
  set([secret({ type: "bearer", sourceFile: "/nowhere/key", sourceUid: 0 }), "sk-1"]);
  tell();
  assertEquals(clock.due, []);
  credentials.start();
  assertEquals(clock.due, [clock.now() + 2_000]);
  await credentials[Symbol.asyncDispose]();
  assertEquals(clock.due, []);
  tell();
  assertEquals(clock.due, []);
});

Deno.test("closedEndpoints() are those of the logins of this moment", async () => {
  const { credentials, set, tell } = overSecrets();
  const place = (host: string) => credentials.isTokenEndpoint({ host, path: "/token" });
  set([secret(), loginThatEnds(1, "https://one.test/token")], [secret({ name: "k", type: "bearer" }), "k"]);
  assertEquals(credentials.closedEndpoints(), [
    { endpoints: [{ url: "https://one.test/token", scope: "host" }], secretHost: "a.test" },
  ]);
  assertEquals([place("one.test"), place("two.test"), credentials.closedHosts()], [true, false, [
    "one.test",
  ]]);
  set([secret({ version: "2" }), loginThatEnds(1, "https://two.test/token")]);
  tell();
  assertEquals([place("one.test"), place("two.test"), credentials.closedHosts()], [false, true, [
    "two.test",
  ]]);
  await credentials[Symbol.asyncDispose]();
});

Deno.test("outcomes() counts from zero, and what it returns is a copy", async () => {
  const { credentials } = overSecrets();
  const outcomes = credentials.outcomes();
  assertEquals(outcomes, { renewed: 0, adopted: 0, failed: 0, refused: 0 });
  assertEquals(credentials.outcomes() === outcomes, false);
  await credentials[Symbol.asyncDispose]();
});
