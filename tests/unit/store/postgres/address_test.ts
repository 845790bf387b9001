import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { formatStoreHosts, parseStoreAddress } from "../../../../store/postgres/address.ts";

Deno.test("parseStoreAddress() reads hosts in order, ports, sockets and whether TLS is spoken", async (t) => {
  const rows: [string, string, boolean][] = [
    ["postgres://u@db.internal/d", "db.internal:5432", true],
    ["postgresql://u@db.internal:6432/d?sslmode=verify-full", "db.internal:6432", true],
    ["postgres://u@a.test,b.test:5433/d", "a.test:5432,b.test:5433", true],
    ["postgres://u@a.test:1,b.test:65535/d", "a.test:1,b.test:65535", true],
    ["postgres://u@a,b,c,d,e,f,g,h/d", "a:5432,b:5432,c:5432,d:5432,e:5432,f:5432,g:5432,h:5432", true],
    ["postgres://u@127.255.0.9/d?sslmode=disable", "127.255.0.9:5432", false],
    ["postgres://u@/d?host=/run/postgresql&sslmode=disable", "/run/postgresql/.s.PGSQL.5432", false],
    ["postgres://u@[2001:db8::1]:5433/d", "[2001:db8::1]:5433", true],
    ["postgres://u@127.0.0.1/d?sslmode=disable", "127.0.0.1:5432", false],
    ["postgres://u@localhost,[::1]/d?sslmode=disable", "localhost:5432,[::1]:5432", false],
    ["postgres://u@/d?host=/run/postgresql", "/run/postgresql/.s.PGSQL.5432", false],
    ["postgres://u@:6000/d?host=/run/postgresql", "/run/postgresql/.s.PGSQL.6000", false],
  ];
  for (const [text, hosts, isEncrypted] of rows) {
    await t.step(text, () => {
      const address = parseStoreAddress(text);
      assertEquals([formatStoreHosts(address), address.isEncrypted], [hosts, isEncrypted]);
      assertEquals([address.user, address.database], ["u", "d"]);
    });
  }
  assertEquals(parseStoreAddress("postgres://a%40b@h.test/d%2Fe").user, "a@b");
  assertEquals(parseStoreAddress("postgres://a%40b@h.test/d%2Fe").database, "d/e");
});

Deno.test("parseStoreAddress() refuses what is weaker, unknown or holds a password, which it does not repeat", async (t) => {
  const rows: [string, string][] = [
    ["postgres://u:planted@h.test/d", "password"],
    ["postgres://u:planted@x@h.test/d", "password"],
    ["postgres://u@h.test/d?password=planted", "password"],
    ["postgres://u@h.test/d?sslmode=require", "sslmode=require"],
    ["postgres://u@h.test/d?sslmode=prefer", "sslmode=prefer"],
    ["postgres://u@h.test/d?sslmode=disable", "sslmode=disable"],
    ["postgres://u@127.0.0.1,h.test/d?sslmode=disable", "sslmode=disable"],
    ["postgres://u@127.evil.test/d?sslmode=disable", "sslmode=disable"],
    ["postgres://u@/d?host=/run&sslmode=verify-full", "socket"],
    ["postgres://u@h.test/d?options=-c", "options"],
    ["postgres://h.test/d", "user"],
    ["postgres://u@h.test/", "database"],
    ["postgres://u@h.test", "postgres://"],
    ["postgres://u@/d", "host"],
    ["postgres://u@h.test:0/d", "port"],
    ["postgres://u@h.test:65536/d", "port"],
    ["postgres://u@h.test:70000/d", "port"],
    ["postgres://u@h.test:123456/d", "is no host"],
    ["postgres://u@:0/d?host=/run", "port"],
    ["postgres://u@h.test/d?host=/run", "a host and a socket's folder"],
    ["postgres://u@/d?host=run", "does not begin with /"],
    ["postgres://u@128.0.0.1/d?sslmode=disable", "sslmode=disable"],
    ["postgres://u@[::2]/d?sslmode=disable", "sslmode=disable"],
    ["postgres://@h.test/d", "user"],
    ["postgres://u@h.test/d%zz", "percent"],
    ["postgres://u@h.test/d?a=1&password=planted", "password"],
    ["postgres://u@a,b,c,d,e,f,g,h,i/d", "8 hosts"],
    ["mysql://u@h.test/d", "postgres://"],
    ["postgres://u%zz@h.test/d", "percent"],
  ];
  for (const [text, said] of rows) {
    await t.step(text, () => {
      const error = assertThrows(() => parseStoreAddress(text), ProxyError);
      assertEquals(error.code, "input.invalid");
      assertStringIncludes(error.message, said);
      assert(!`${error.message} ${error.hint}`.includes("planted"), "the password is in the error");
    });
  }
});
