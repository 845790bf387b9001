/**
 * Who learns, and until when.
 *
 * @module
 */
import { call } from "./session.js";

/**
 * The answer of `GET /proxy/v1/mode`.
 *
 * @typedef {object} Modes
 * @property {Mode} mode
 * @property {readonly { client?: string, mode: Mode, until?: string }[]} switches
 */

/** @typedef {"strict" | "audit"} Mode */

/** How long a client learns that is told to. */
export const LEARN_SECONDS = 900;

/**
 * The mode of a client: its own switch counts before the one for all, and that before the mode of the start.
 *
 * @param {Modes} modes
 * @param {string} client
 * @returns {{ mode: Mode, until?: string }}
 */
export function modeIn({ mode, switches }, client) {
  return switches.find((each) => each.client === client) ??
    switches.find((each) => each.client === undefined) ?? { mode };
}

/**
 * Switches a client's mode.
 *
 * @param {string} client
 * @param {Mode} mode
 * @param {number} seconds 0 for no end
 */
export async function switchMode(client, mode, seconds) {
  await call("PUT", "mode", { client, mode, ...(seconds > 0 ? { ttl_seconds: seconds } : {}) });
}
