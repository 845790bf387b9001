/**
 * Flags that most commands have.
 *
 * @module
 */
import type { FlagSpec } from "./command.ts";

/** Which proxy is asked. */
export const URL_FLAG: FlagSpec = {
  name: "url",
  placeholder: "URL",
  description: "the API: a socket path or an http(s) URL, instead of SLICER_URL or ./.slicer/proxy/api.sock",
};
/** For lists, and whatever scripts read. */
export const JSON_FLAG: FlagSpec = { name: "json", description: "print JSON" };
