/**
 * A daemon in small, for `kill9_test.ts` to kill: opens the state folder `args[0]` and carries out the steps of round
 * `args[1]` for as long as it lives, with one line on stdout for each step that was acknowledged.
 *
 * @module
 */
import { systemClock } from "../../core/clock.ts";
import { parseRule } from "../../policy/rule.ts";
import { State } from "../../store/state.ts";

/** One change. Step `n` of a round is the same whenever it is asked for, so that both processes know it. */
export type Step =
  | { readonly do: "create" | "rotate" | "delete"; readonly client: string }
  | { readonly do: "allow" | "revoke"; readonly client: string; readonly host: string }
  | { readonly do: "put"; readonly secret: string; readonly value: string };

/** Clients come in groups of eight steps; every second one is deleted again. */
export function stepOf(round: number, n: number): Step {
  const group = n >> 3;
  const client = `r${round}-c${group}`;
  switch (n & 7) {
    case 0:
      return { do: "create", client };
    case 4:
      return { do: "put", secret: `r${round}-s${group % 5}`, value: `sk-planted-${round}-${n}` };
    case 5:
      return { do: "revoke", client, host: "h2.test" };
    case 6:
      return { do: "rotate", client };
    case 7:
      return group % 2 === 1 ? { do: "delete", client } : { do: "allow", client, host: "last.test" };
    default:
      return { do: "allow", client, host: `h${n & 7}.test` };
  }
}

/** What a step answered, as one line. */
export interface Acknowledged {
  readonly n: number;
  readonly token?: string;
}

async function carryOut(state: State, step: Step): Promise<string | undefined> {
  switch (step.do) {
    case "create":
      return (await state.createClient(step.client)).token;
    case "rotate":
      return (await state.rotateClient(step.client)).token;
    case "delete":
      return void await state.deleteClient(step.client);
    case "allow":
      return void await state.addRule(step.client, parseRule({ host: step.host }), { ttlMs: 3_600_000 });
    case "revoke":
      return void await state.revokeHost(step.client, step.host);
    case "put": {
      const input = {
        name: step.secret,
        host: "api.test",
        type: "bearer",
        value: step.value,
        cleartext: false,
      };
      return void await state.putSecret(input, { force: true });
    }
  }
}

if (import.meta.main) {
  const [dir = "", round = ""] = Deno.args;
  await using state = await State.open({ dir, clock: systemClock() });
  for (let n = 0;; n++) {
    const token = await carryOut(state, stepOf(Number(round), n));
    const line: Acknowledged = token === undefined ? { n } : { n, token };
    await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(line)}\n`));
  }
}
