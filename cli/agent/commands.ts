/**
 * The rows of the helper inside a VM. They stand under `agent`, and again at the top, so that a link named `slicer-agent` or `slicer-proxy-agent`
 * runs the documented `slicer-agent proxy …` commands.
 *
 * @module
 */
import type { ArgumentSpec, CommandSpec, FlagSpec } from "../command/command.ts";
import { JSON_FLAG } from "../command/common_flags.ts";

const TUNNEL_NAME = { name: "NAME", description: "the tunnel" };

/** Also of the top-level `ca show`, which describes a host group's CA where no helper is installed. */
export const PLACED_CA: ArgumentSpec = {
  name: "SHA256",
  description: "its SHA-256, or how that begins; the only one when left out",
  isOptional: true,
};

const CA_FLAGS: readonly FlagSpec[] = [
  {
    name: "ca",
    placeholder: "FILE",
    description: "the proxy's CA (PEM), instead of /runner/ca.crt or the VM's trust store",
  },
  {
    name: "ca-sha256",
    placeholder: "HEX",
    description: "the SHA-256 of the proxy's CA, which is fetched from the proxy then",
  },
];

const TOKEN_FLAGS: readonly FlagSpec[] = [
  { name: "token", placeholder: "TOKEN", description: "the client's token; others in this VM can see it" },
  {
    name: "token-file",
    placeholder: "FILE",
    description: "read the token from a file, or from standard input with -",
  },
];

const UNDER_AGENT: readonly CommandSpec[] = [
  {
    name: "install",
    summary: "in a VM: send everything through the proxy, programs that know of no proxy too (root)",
    arguments: [{
      name: "PROXY_IP",
      description: "where the proxy is, with :PORT when its TLS port is not 3129; else from HTTPS_PROXY",
      isOptional: true,
    }],
    flags: [
      ...TOKEN_FLAGS,
      ...CA_FLAGS,
      {
        name: "doh-url",
        placeholder: "URL",
        description: "look names up by DNS-over-HTTPS through the proxy, instead of asking the proxy itself",
      },
    ],
    examples: ["slicer-proxy agent install 192.168.222.1 --token-file ./token"],
    load: async () => (await import("./cmd_agent.ts")).installAgent,
  },
  {
    name: "uninstall",
    summary: "in a VM: put everything back as it was before the installation (root)",
    examples: ["slicer-proxy agent uninstall"],
    load: async () => (await import("./cmd_agent.ts")).uninstallAgent,
  },
  {
    name: "tunnel add",
    summary: "in a VM: open a local port that leads to one host and port through the proxy (root)",
    arguments: [TUNNEL_NAME, { name: "HOST:PORT", description: "where to; it needs a passthrough rule" }],
    flags: [{
      name: "listen",
      placeholder: "ADDR",
      description: "the local address and port: 127.0.0.1:5432",
      isRequired: true,
    }],
    examples: ["slicer-proxy agent tunnel add db --listen 127.0.0.1:5432 db.internal:5432"],
    load: async () => (await import("./cmd_tunnel.ts")).addTunnel,
  },
  {
    name: "tunnel list",
    summary: "in a VM: list the tunnels",
    flags: [JSON_FLAG],
    examples: ["slicer-proxy agent tunnel list"],
    load: async () => (await import("./cmd_tunnel.ts")).listTunnels,
  },
  {
    name: "tunnel remove",
    summary: "in a VM: close a tunnel (root)",
    arguments: [TUNNEL_NAME],
    examples: ["slicer-proxy agent tunnel remove db"],
    load: async () => (await import("./cmd_tunnel.ts")).removeTunnel,
  },
  {
    name: "ca list",
    summary: "in a VM: list the CAs that the helper has put into this VM's stores (root)",
    flags: [JSON_FLAG],
    examples: ["slicer-proxy agent ca list"],
    load: async () => (await import("./cmd_placed_ca.ts")).listPlaced,
  },
  {
    name: "ca remove",
    summary: "in a VM: take one of them out of every store (root)",
    arguments: [{ name: "SHA256", description: "its SHA-256, or how that begins" }],
    examples: ["slicer-proxy agent ca remove 3f5a0c21"],
    load: async () => (await import("./cmd_placed_ca.ts")).removePlaced,
  },
  {
    name: "ca wipe",
    summary: "in a VM: take all of them out (root)",
    examples: ["slicer-proxy agent ca wipe"],
    load: async () => (await import("./cmd_placed_ca.ts")).wipePlaced,
  },
  {
    name: "connect",
    summary: "join standard input and output to a host and port through the proxy, for SSH's ProxyCommand",
    arguments: [{ name: "HOST:PORT", description: "where to; it needs a passthrough rule" }],
    flags: [
      {
        name: "proxy",
        placeholder: "ADDR",
        description: "the proxy, instead of HTTPS_PROXY or what is installed",
      },
      ...TOKEN_FLAGS,
      ...CA_FLAGS,
    ],
    examples: ["slicer-proxy agent connect ssh.example.com:22"],
    load: async () => (await import("./cmd_connect.ts")).run,
  },
];

const ONLY_UNDER_AGENT: readonly CommandSpec[] = [
  {
    name: "agent ca show",
    summary: "in a VM: describe one of them, and where it is (root)",
    arguments: [PLACED_CA],
    flags: [JSON_FLAG],
    examples: ["slicer-proxy agent ca show"],
    load: async () => (await import("./cmd_placed_ca.ts")).showPlaced,
  },
  {
    name: "agent status",
    summary: "in a VM: show every piece of the helper and its state",
    flags: [JSON_FLAG],
    examples: ["slicer-proxy agent status"],
    load: async () => (await import("./cmd_agent.ts")).showAgent,
  },
  {
    name: "agent doctor",
    summary: "in a VM: find programs that would not trust the CA or not use the proxy, and say what to do",
    flags: [{ name: "fix", description: "do what is safe to do" }, JSON_FLAG],
    examples: ["slicer-proxy agent doctor", "sudo slicer-proxy agent doctor --fix"],
    load: async () => (await import("./cmd_doctor.ts")).run,
  },
  {
    name: "agent run",
    summary: "the helper itself; the service runs it",
    flags: [{ name: "supervised", description: "end when standard input does" }],
    examples: ["slicer-proxy agent run"],
    isHidden: true,
    load: async () => (await import("./cmd_agent.ts")).runAgent,
  },
  {
    name: "agent supervise",
    summary: "keep the helper running where there is no systemd",
    examples: ["slicer-proxy agent supervise"],
    isHidden: true,
    load: async () => (await import("./cmd_agent.ts")).superviseAgent,
  },
];

/** All of them. */
export const AGENT_COMMANDS: readonly CommandSpec[] = [
  ...UNDER_AGENT.map((spec) => ({ ...spec, name: `agent ${spec.name}`, isHidden: spec.name === "connect" })),
  ...ONLY_UNDER_AGENT,
  ...UNDER_AGENT.map((spec) => ({
    ...spec,
    examples: spec.examples.map((line) => line.replace("slicer-proxy agent ", "slicer-proxy ")),
    isHidden: spec.name !== "connect",
  })),
];
