/**
 * One proxy in a process of its own, between a client and an upstream of this one, for counting and profiling what requests
 * cost it: nothing has to be installed, and every run makes the same requests.
 *
 * Not here: what is counted (`guard.ts`, `profile.ts`), comparisons with others (`run.ts`).
 *
 * @module
 */
import { openTlsTunnel, RawPeer } from "../tests/support/raw_peer.ts";
import { makeAuthority } from "../tests/support/test_authority.ts";
import { addClient, denoCommand, openApi } from "./peer_slicer.ts";
import { HOST, TOKEN } from "./settings.ts";

const ANSWER = `HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n${"x".repeat(1_024)}`;

/** How the proxy is started. */
export interface LabOptions {
  /** In front of its command: a tracer. It ends when the proxy does. */
  readonly wrapper?: readonly string[];
  /** A module that is loaded before the program; with it, the program may do everything. */
  readonly preload?: string;
}

/** The proxy and its surroundings, all gone after disposal. */
export class Lab implements AsyncDisposable {
  /** What the wrapper and the program write goes here. */
  readonly dir: string;
  readonly #stack = new AsyncDisposableStack();
  #connect: () => Promise<RawPeer> = () => Promise.reject(new Error("not open"));
  #target = "";

  private constructor(dir: string) {
    this.dir = dir;
    this.#stack.defer(() => Deno.remove(dir, { recursive: true }));
  }

  static async open(options: LabOptions): Promise<Lab> {
    const lab = new Lab(await Deno.makeTempDir({ prefix: "slicer-lab-" }));
    try {
      await lab.#open(options);
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** `requests` in `tunnels` new tunnels at once, each waiting for the answer before. */
  async ask(requests: number, tunnels = 1): Promise<void> {
    await Promise.all(Array.from({ length: tunnels }, async () => {
      using client = await this.#connect();
      await this.#askIn(client, requests / tunnels);
    }));
  }

  /** As many new tunnels with one request in each, `atOnce` of them at a time. */
  async askAnew(tunnels: number, atOnce = 1): Promise<void> {
    await Promise.all(Array.from({ length: atOnce }, async () => {
      for (let i = 0; i < tunnels / atOnce; i++) await this.ask(1);
    }));
  }

  /** As many new tunnels, each of which has carried a request, open until disposal. */
  async hold(tunnels: number): Promise<Disposable> {
    const held = new DisposableStack();
    for (let i = 0; i < tunnels; i++) await this.#askIn(held.use(await this.#connect()), 1);
    return held;
  }

  async #askIn(client: RawPeer, requests: number): Promise<void> {
    for (let i = 0; i < requests; i++) {
      await client.send(`GET /1k HTTP/1.1\r\nHost: ${this.#target}\r\n\r\n`);
      const { status } = await client.readResponse();
      if (status !== 200) throw new Error(`the proxy answered ${status}`);
    }
  }

  /** Ends the proxy and waits for what is around it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #open({ wrapper, preload }: LabOptions): Promise<void> {
    const { dir } = this;
    const upstreamCa = await makeAuthority("lab-upstream");
    const { certPem: cert, keyPem: key } = await upstreamCa.issue([HOST]);
    const alpnProtocols = ["http/1.1"];
    const upstream = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key, alpnProtocols });
    const serving = serve(upstream);
    this.#stack.defer(() => {
      upstream.close();
      return serving;
    });
    this.#target = `${HOST}:${upstream.addr.port}`;
    const [port, tlsPort] = freePorts();
    await Deno.writeTextFile(`${dir}/upstream.crt`, upstreamCa.caPem);
    const [command = "", ...args] = [
      ...wrapper ?? [],
      ...preload === undefined
        ? denoCommand()
        : withPreload(denoCommand({ v8Flags: "--expose-gc" }), preload),
      ...["up", "--workers=1", "--allow-cidr=127.0.0.0/8,::1/128"],
      ...[`--http-port=${port}`, `--https-port=${tlsPort}`, `--upstream-ca=${HOST}=${dir}/upstream.crt`],
    ];
    const child = new Deno.Command(command, { args, cwd: dir, stdin: "null", stdout: "null", stderr: "null" })
      .spawn();
    this.#stack.defer(async () => {
      // A tracer itself ignores the signal while its child runs.
      for (const pid of wrapper ? await childrenOf(child.pid) : [child.pid]) Deno.kill(pid, "SIGTERM");
      await child.status;
    });
    const api = await openApi(`${dir}/.slicer/proxy/api.sock`);
    await addClient(api, "lab", TOKEN, []);
    await api.call("POST", "allows", { client: "lab", host: HOST, ports: [upstream.addr.port] });
    const caPem = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
    this.#connect = () => openTlsTunnel(port, this.#target, TOKEN, caPem);
  }
}

/** The same program with all permissions, which profilers need. */
function withPreload(command: readonly string[], preload: string): readonly string[] {
  const plain = command.filter((word) => !word.startsWith("--allow-"));
  const entry = plain.at(-1) ?? "";
  return [...plain.slice(0, -1), "-A", `--preload=${preload}`, entry];
}

async function childrenOf(pid: number): Promise<readonly number[]> {
  const text = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
  return text.trim().split(" ").map(Number).filter((child) => child > 0);
}

/** Every head is answered with one write. */
async function serve(listener: Deno.TlsListener): Promise<void> {
  const open: Promise<void>[] = [];
  try {
    for (;;) open.push(answer(await listener.accept()));
  } catch {
    await Promise.all(open); // closed
  }
}

async function answer(conn: Deno.TlsConn): Promise<void> {
  using peer = new RawPeer(conn);
  try {
    for (;;) {
      await peer.readHead();
      await peer.send(ANSWER);
    }
  } catch {
    // The proxy has closed its side.
  }
}

function freePorts(): [number, number] {
  const listeners = [0, 0].map((port) => Deno.listen({ hostname: "127.0.0.1", port }));
  const [first = 0, second = 0] = listeners.map(({ addr }) => (addr as Deno.NetAddr).port);
  for (const listener of listeners) listener.close();
  return [first, second];
}
