import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { LINK_MS, type NewSession, SESSION_MS, UiSessions } from "../../../api/ui_sessions.ts";
import { FakeClock } from "../../support/fake_clock.ts";

function opened(sessions: UiSessions, code = sessions.createLink().code): NewSession {
  const session = sessions.open(code);
  assert(typeof session !== "string", String(session));
  return session;
}

Deno.test("createLink() gives another code of 256 bits each time, and open() two other secrets", () => {
  const sessions = new UiSessions(new FakeClock());
  const [a, b] = [sessions.createLink(), sessions.createLink()];
  const { cookie, key } = opened(sessions, a.code);
  const all = [a.code, b.code, cookie, key];
  for (const secret of all) assertMatch(secret, /^[\w-]{43}$/);
  assertEquals(new Set(all).size, 4);
});

Deno.test("open() takes a code once", () => {
  const sessions = new UiSessions(new FakeClock());
  const { code } = sessions.createLink();
  const other = sessions.createLink();
  assert(sessions.isLive(opened(sessions, code)));
  assertEquals(sessions.open(code), "unknown");
  opened(sessions, other.code);
});

Deno.test("open() takes a code until its time is over", async (t) => {
  for (const [afterMs, isTaken] of [[LINK_MS - 1, true], [LINK_MS, false]] as const) {
    await t.step(`after ${afterMs} ms`, () => {
      const clock = new FakeClock();
      const sessions = new UiSessions(clock);
      const { code, expiresAt } = sessions.createLink();
      assertEquals(expiresAt, clock.now() + LINK_MS);
      clock.advance(afterMs);
      assertEquals(typeof sessions.open(code) !== "string", isTaken);
    });
  }
});

Deno.test("open() takes nothing else for a code", () => {
  const sessions = new UiSessions(new FakeClock());
  const { code } = sessions.createLink();
  for (const wrong of ["", code.slice(1), `${code}x`, code.toUpperCase(), "\0", "é"]) {
    assertEquals(sessions.open(wrong), "unknown");
  }
  opened(sessions, code);
});

Deno.test("open() bounds what wrong codes get, keeps no right one out, and forgets after a while", () => {
  const clock = new FakeClock();
  const sessions = new UiSessions(clock);
  const { code } = sessions.createLink();
  for (let i = 0; i < 30; i++) assertEquals(sessions.open(`wrong-${i}`), "unknown");
  for (let i = 0; i < 100; i++) assertEquals(sessions.open("wrong"), "too-many");
  opened(sessions, code);
  clock.advance(LINK_MS);
  assertEquals(sessions.open("wrong"), "unknown");
});

Deno.test("isLive() needs both secrets of one session, until its time is over", () => {
  const clock = new FakeClock();
  const sessions = new UiSessions(clock);
  const [a, b] = [opened(sessions), opened(sessions)];
  assertNotEquals(a.key, b.key);
  const rows: [name: string, session: NewSession, isLive: boolean][] = [
    ["both", a, true],
    ["the other", b, true],
    ["key of another", { cookie: a.cookie, key: b.key }, false],
    ["cookie alone", { cookie: a.cookie, key: "" }, false],
    ["key alone", { cookie: "", key: a.key }, false],
    ["cookie as key", { cookie: a.cookie, key: a.cookie }, false],
    ["swapped", { cookie: a.key, key: a.cookie }, false],
    ["none", { cookie: "", key: "" }, false],
  ];
  for (const [name, session, isLive] of rows) assertEquals(sessions.isLive(session), isLive, name);
  clock.advance(SESSION_MS - 1);
  assert(sessions.isLive(a)); // use does not prolong it
  clock.advance(1);
  assertEquals(sessions.isLive(a), false);
});

Deno.test("close() ends one session", () => {
  const sessions = new UiSessions(new FakeClock());
  const [a, b] = [opened(sessions), opened(sessions)];
  sessions.close({ cookie: a.cookie, key: b.key });
  assertEquals([sessions.isLive(a), sessions.isLive(b)], [true, true]);
  sessions.close(a);
  assertEquals([sessions.isLive(a), sessions.isLive(b)], [false, true]);
});

Deno.test("links and sessions are bounded, and the newest stay", () => {
  const sessions = new UiSessions(new FakeClock());
  const codes = Array.from({ length: 9 }, () => sessions.createLink().code);
  assertEquals(codes.map((code) => typeof sessions.open(code) === "string"), [
    true,
    ...Array<boolean>(8).fill(false),
  ]);
  const all = Array.from({ length: 33 }, () => opened(sessions));
  assertEquals(all.map((session) => sessions.isLive(session)), [false, ...Array<boolean>(32).fill(true)]);
});
