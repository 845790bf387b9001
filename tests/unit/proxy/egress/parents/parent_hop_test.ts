import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../../core/errors.ts";
import { parentHop } from "../../../../../proxy/egress/parents/parent_hop.ts";
import { makeField } from "../../../../../proxy/message/fields.ts";
import type { RequestTarget } from "../../../../../proxy/message/target.ts";

/** The way to a place over a parent that wants this password. */
function setUp(place: Partial<RequestTarget> = {}, authorization?: string) {
  let refusals = 0;
  const proxy = {
    ...{ scheme: "http" as const, host: "parent.test", port: 3128 },
    ...(authorization === undefined ? {} : { authorization }),
  };
  const target = { scheme: "http", host: "up.test", port: 80, originForm: "/a", ...place } as RequestTarget;
  const hop = parentHop({ proxy, onRefused: () => refusals++ }, target);
  return { hop, refusals: () => refusals };
}

const head = (target: string) => ({
  ...{ method: "GET", target, version: "HTTP/1.1" as const },
  fields: [makeField("Host", "up.test")],
});

Deno.test("parentHop() makes the absolute form, and of OPTIONS * the authority alone", async (t) => {
  const rows: readonly (readonly [Partial<RequestTarget>, target: string, sent: string])[] = [
    [{}, "/a?b=c", "http://up.test/a?b=c"],
    [{ port: 8080 }, "/", "http://up.test:8080/"],
    [{ host: "2001:db8::1" }, "/", "http://[2001:db8::1]/"],
    [{}, "*", "http://up.test"],
    [{}, "/*", "http://up.test/*"],
  ];
  for (const [place, target, sent] of rows) {
    await t.step(sent, () => {
      const out = setUp(place).hop.outgoing(head(target));
      assertEquals([out.target, out.method, out.fields], [sent, "GET", head(target).fields]);
    });
  }
});

Deno.test("parentHop() shows the parent our password behind all else, and takes only 407 for the parent's own", () => {
  const { hop, refusals } = setUp({}, "Basic cDpx");
  assertEquals(hop.outgoing(head("/")).fields, [
    makeField("Host", "up.test"),
    makeField("Proxy-Authorization", "Basic cDpx"),
  ]);
  const answer = (status: number) => hop.incoming({ version: "HTTP/1.1", status, reason: "", fields: [] });
  for (const status of [100, 200, 401, 403, 406, 408, 502]) answer(status);
  assertEquals(refusals(), 0);
  const { code, reason, message } = assertThrows(() => answer(407), ProxyError);
  assertEquals([code, reason, refusals()], ["upstream.refused", "parent-auth", 1] as unknown[]);
  assertEquals(
    message.startsWith("Cannot connect to up.test:80 through the parent proxy: it answers 407"),
    true,
  );
});
