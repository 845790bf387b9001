import { assertEquals } from "@std/assert";
import process from "node:process";
import { parseStoreAddress } from "../../../store/postgres/address.ts";
import { Link } from "../../../store/postgres/link.ts";
import { fleetTest } from "./fleet_support.ts";

fleetTest(
  "Link.query() takes many questions at once, and all of them end with the connection",
  async ({ server }) => {
    const warnings: string[] = [];
    const onWarning = ({ message }: Error) => void warnings.push(message);
    process.on("warning", onWarning);
    try {
      const link = await Link.open({
        address: parseStoreAddress(server.url),
        password: () => Promise.resolve("change-me"),
        caPem: await Deno.readTextFile(server.caFile),
        timeoutMs: 30_000,
        name: "test",
      });
      const numbers = Array.from({ length: 40 }, (_, i) => i);
      const answers = await Promise.all(numbers.map((i) => link.query("SELECT $1::int AS it", [i])));
      assertEquals(answers.map(([row]) => row?.it), numbers);
      assertEquals(warnings, []); // of listeners that pile up
      const asked = numbers.map(() =>
        link.query("SELECT pg_sleep(20)").then(() => "answered", () => "ended")
      );
      link.destroy();
      assertEquals(new Set(await Promise.all(asked)), new Set(["ended"]));
      assertEquals(link.isOpen, false);
    } finally {
      process.off("warning", onWarning);
    }
  },
);
