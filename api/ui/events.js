/**
 * Server-sent events, read from the text of a response: `EventSource` could not send the session's key.
 *
 * @module
 */

/** More than any event of ours: what is longer is not kept. */
const MAX_CHARS = 1_000_000;

/** Events from text that comes in pieces (WHATWG HTML §9.2.6). Their names are not looked at. */
export class EventReader {
  #rest = "";
  #id = "";
  /** @type {string[]} */
  #data = [];

  /** Where to go on after the last event that was complete: the value of `Last-Event-ID`, or empty. */
  lastId = "";

  /**
   * The data of each event that is complete with this piece.
   *
   * @param {string} piece
   * @returns {string[]}
   */
  read(piece) {
    const lines = (this.#rest + piece).split("\n");
    this.#rest = (lines.pop() ?? "").slice(0, MAX_CHARS);
    /** @type {string[]} */
    const events = [];
    for (const each of lines) {
      const line = each.endsWith("\r") ? each.slice(0, -1) : each;
      if (line.startsWith("data:")) this.#data.push(valueOf(line));
      if (line.startsWith("id:")) this.#id = valueOf(line);
      if (line !== "") continue;
      this.lastId = this.#id;
      if (this.#data.length > 0) events.push(this.#data.join("\n"));
      this.#data = [];
    }
    return events;
  }
}

/** @param {string} line */
function valueOf(line) {
  return line.slice(line.indexOf(":") + 1).replace(/^ /, "");
}
