/**
 * `/etc/hosts` (hosts(5)): what the operator of this machine says of a name, before any name server is asked. The file is read
 * again when it has changed; nobody waits for that but the first.
 *
 * @module
 */
import { formatIp, parseIp } from "../../../core/cidr.ts";
import { messageOf } from "../../../core/errors.ts";
import { isIpLiteral, parseHost } from "../../../core/host_port.ts";
import { NAME_LIMITS } from "../../../core/limits.ts";

/** The addresses of names, in the order of the file. Lines that cannot be read say nothing, as in hosts(5). */
export function parseHosts(text: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [address = "", ...names] = (line.split("#", 1)[0] ?? "").trim().split(/[ \t\r]+/);
    const ip = parseIp(address);
    if (!ip) continue;
    for (const each of names) {
      const name = parseHost(each);
      if (name === undefined || isIpLiteral(name)) continue;
      const addresses = found.get(name) ?? [];
      if (!addresses.includes(formatIp(ip))) addresses.push(formatIp(ip));
      found.set(name, addresses);
    }
  }
  return found;
}

/** The file as it is now, or was some seconds ago. */
export class HostsFile {
  readonly #path: string;
  readonly #now: () => number;
  readonly #warn: (line: string) => void;
  #names: ReadonlyMap<string, readonly string[]> = new Map();
  #version = "";
  #checkedAt = -Infinity;
  #checking: Promise<void> | undefined;
  #isRead = false;
  #lastWarning = "";

  constructor(path: string, options: { readonly now: () => number; readonly warn: (line: string) => void }) {
    this.#path = path;
    this.#now = options.now;
    this.#warn = options.warn;
  }

  /** The addresses of a canonical name; none when the file does not have it. */
  async addresses(name: string): Promise<readonly string[]> {
    if (!this.#checking && this.#checkedAt + NAME_LIMITS.hostsCheckMs <= this.#now()) {
      this.#checkedAt = this.#now();
      this.#checking = this.#check().finally(() => this.#checking = undefined);
    }
    if (!this.#isRead) await this.#checking;
    return this.#names.get(name) ?? [];
  }

  /** Never rejects: what was read last goes on to hold. */
  async #check(): Promise<void> {
    try {
      const { mtime, size, ino } = await Deno.stat(this.#path);
      const version = `${mtime?.getTime()} ${size} ${ino}`;
      if (version === this.#version) return;
      if (size > NAME_LIMITS.maxHostsBytes) {
        throw new Error(`it has more than ${NAME_LIMITS.maxHostsBytes} bytes`);
      }
      this.#names = parseHosts(await Deno.readTextFile(this.#path));
      this.#version = version;
      this.#lastWarning = "";
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) {
        this.#names = new Map();
        this.#version = "";
      } else this.#complain(`${this.#path} cannot be read: ${messageOf(error)}`);
    } finally {
      this.#isRead = true;
    }
  }

  /** Once for each cause, not every few seconds. */
  #complain(line: string): void {
    if (line === this.#lastWarning) return;
    this.#lastWarning = line;
    this.#warn(line);
  }
}
