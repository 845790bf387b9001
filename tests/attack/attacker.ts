/** An attacker's process: the attack that its argument names, on the target that it reads as a JSON line on stdin. */
import { ATTACKS } from "./table.ts";
import type { Target } from "./target.ts";

const attack = ATTACKS.find(({ name }) => name === Deno.args[0]);
if (!attack) throw new RangeError(`no attack is named ${Deno.args[0]}`);
const target: Target = JSON.parse(await new Response(Deno.stdin.readable).text());
const tally = await attack.run(target);
await Deno.stdout.write(new TextEncoder().encode(JSON.stringify(tally)));
Deno.exit(0); // what it left open ends with it
