import { assertEquals } from "@std/assert";
import { COMMANDS } from "../../../../cli/command/commands.ts";
import { positions } from "../../../../cli/command/positions.ts";
import { PROFILES } from "../../../../policy/profile.ts";

Deno.test("positions() offers the names of profiles, which are not the only values", () => {
  const names = PROFILES.map(({ name }) => name);
  const at = (path: string) => positions(COMMANDS).find((position) => position.path === path);
  assertEquals(at("allow")?.flags.find(({ word }) => word === "--profile")?.value, names);
  assertEquals(at("profiles show")?.words.map(({ word }) => word), names);
});
