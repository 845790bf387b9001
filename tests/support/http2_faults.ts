/** What HTTP/2's codec holds against a peer, as a line of text. */
import { Fault } from "../../proxy/http2/fault.ts";
import { codeName } from "../wire/http2/frame_text.ts";

/** `scope CODE` of the fault that `work` throws, with `flood` behind it for one of those; "none" when it throws nothing. */
export function faultOf(work: () => unknown): string {
  try {
    work();
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
    return `${fault.scope} ${codeName(fault.h2Code)}${fault.isFlood ? " flood" : ""}`;
  }
  return "none";
}
