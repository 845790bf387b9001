import { assert, assertEquals } from "@std/assert";
import { canTrace, measureSyscalls, parseCalls } from "../../../bench/guard.ts";

Deno.test("parseCalls() counts calls that succeeded when some have errors", () => {
  const table = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
  2.52    0.112169           9     11396      3796 recvfrom
  2.38    0.105635          13      7594           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    4.446350         218     20308      3820 total
`;
  assertEquals([...parseCalls(table)], [["recvfrom", 7_600], ["sendto", 7_594]]);
});

Deno.test({
  name: "measureSyscalls() finds four sends and four receives in an inspected keep-alive request",
  ignore: Deno.build.os !== "linux" || !await canTrace(),
  fn: async () => {
    const { sends, receives } = await measureSyscalls(500);
    const seen = `sends ${sends}, receives ${receives}`;
    assert(sends >= 3.9 && sends <= 4.1, seen);
    assert(receives >= 3.9 && receives <= 4.1, seen);
  },
});
