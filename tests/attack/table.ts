/** Every attack, one row each. A new kind is one more row. */
import { connectionAttacks } from "./connections.ts";
import { headAttacks } from "./heads.ts";
import { http2Attacks } from "./http2.ts";
import { trickAttacks } from "./tricks.ts";
import type { Attack } from "./target.ts";

export const ATTACKS: readonly Attack[] = [
  ...connectionAttacks,
  ...headAttacks,
  ...http2Attacks,
  ...trickAttacks,
];
