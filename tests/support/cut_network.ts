/** A network namespace with a loopback of its own, in which packets can be made to vanish: nobody gets a reset. */
import { hasProgram, runProgram } from "./programs.ts";

/** See the module. */
export class CutNetwork implements AsyncDisposable {
  readonly #name: string;

  private constructor(name: string) {
    this.#name = name;
  }

  /** Why there is none on this machine, or undefined. */
  static async whyNot(): Promise<string | undefined> {
    if (Deno.build.os !== "linux" || Deno.uid() !== 0) return "it needs root on Linux";
    const missing = ["ip", "iptables", "curl"].find((program) => !hasProgram(program));
    if (missing !== undefined) return `${missing} is not installed`;
    try {
      await using network = await CutNetwork.make();
      await network.run("iptables", "-w", "-S");
      return undefined;
    } catch (error) {
      return `network namespaces are not permitted here: ${error}`;
    }
  }

  static async make(): Promise<CutNetwork> {
    const network = new CutNetwork(`slf-${crypto.randomUUID().slice(0, 8)}`);
    const { code, stderr } = await runProgram("ip", ["netns", "add", network.#name]);
    if (code !== 0) throw new Error(stderr);
    try {
      await network.run("ip", "link", "set", "lo", "up");
      return network;
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs a command that is given after it in the namespace. */
  get through(): readonly string[] {
    return ["ip", "netns", "exec", this.#name];
  }

  /** The output of a program in it that has to succeed. */
  async run(program: string, ...args: readonly string[]): Promise<string> {
    const [first = "", ...rest] = this.through;
    const { code, stdout, stderr } = await runProgram(first, [...rest, program, ...args]);
    if (code !== 0) throw new Error(`${program} ended with ${code}: ${stderr}`);
    return stdout;
  }

  /** From now on nothing that is sent to the port, or from it, arrives. The returned function ends that. */
  async cut(port: number): Promise<() => Promise<void>> {
    const rules = ["--dport", "--sport"].map((side) => `INPUT -p tcp ${side} ${port} -j DROP`.split(" "));
    for (const rule of rules) await this.run("iptables", "-w", "-I", ...rule);
    return async () => {
      for (const rule of rules) await this.run("iptables", "-w", "-D", ...rule);
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await runProgram("ip", ["netns", "delete", this.#name]);
  }
}
