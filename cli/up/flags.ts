/**
 * The flags of `up`, a part of the command table.
 *
 * Not here: what they do (`cmd_up.ts`).
 *
 * @module
 */
import { CLEARTEXT_SECRETS, EXPLAIN } from "../../proxy/context.ts";
import { UPSTREAM_FAMILIES } from "../../proxy/egress/connect/connector.ts";
import { PARENT_DNS } from "../../proxy/egress/parents/parents.ts";
import { ON_ECHO } from "../../proxy/echo/echo_guard.ts";
import { type FlagSpec, splitCommas } from "../command/command.ts";
import { STORE_FLAGS } from "../store/flags.ts";

/** In the order of the help: where, what may be dialled, how it decides, state, API, log. */
export const UP_FLAGS: readonly FlagSpec[] = [
  {
    name: "hostgroup",
    placeholder: "NAME",
    description: "the host group whose CA signs for the proxy; the only one under ./.slicer/ca, else sbox",
  },
  {
    name: "ca-dir",
    placeholder: "DIR",
    description: "the folder of ca.crt and ca.key, instead of ./.slicer/ca/HOSTGROUP",
  },
  {
    name: "bind",
    placeholder: "ADDRESS",
    description: "an IP address, with a prefix, 0.0.0.0, or :: for both families",
    default: "127.0.0.1",
    isRepeatable: true,
    split: splitCommas,
  },
  {
    name: "http-port",
    placeholder: "PORT",
    description: "the first proxy port, with or without TLS",
    default: "3128",
  },
  { name: "https-port", placeholder: "PORT", description: "the second, likewise", default: "3129" },
  {
    name: "san",
    placeholder: "NAME",
    description: "a further name or address in the TLS port's certificate",
    isRepeatable: true,
    split: splitCommas,
  },
  {
    name: "deny-cidr",
    placeholder: "CIDR",
    description: "never dial this network, whatever the rules say",
    isRepeatable: true,
    split: splitCommas,
  },
  {
    name: "allow-cidr",
    placeholder: "CIDR",
    description: "dial this network although it is loopback, link-local or private",
    isRepeatable: true,
    split: splitCommas,
  },
  {
    name: "upstream-ca",
    placeholder: "FILE",
    description: "trust these roots too: FILE, HOST=FILE for one host, or system; files are followed",
    isRepeatable: true,
  },
  {
    name: "dns",
    placeholder: "SERVER",
    description:
      "ask this name server: udp://ADDR, tcp://ADDR, tls://HOST or https://HOST/dns-query, several " +
      "in turn; ZONE=SERVER for the names of one zone, which nobody else is asked for; the system's resolver " +
      "when it is left out",
    isRepeatable: true,
    split: splitCommas,
  },
  {
    name: "upstream-proxy",
    placeholder: "URL",
    description:
      "reach upstreams through this parent proxy and no other way: http[s]://[USER@]HOST:PORT, or " +
      "PATTERN=URL for some hosts; the pattern that says most wins",
    isRepeatable: true,
  },
  {
    name: "upstream-proxy-password-file",
    placeholder: "FILE",
    description: "the password of the parent proxy's user, or PATTERN=FILE for the parent of that pattern",
    isRepeatable: true,
  },
  {
    name: "no-upstream-proxy",
    placeholder: "HOST",
    description:
      "reach these without the parent proxy: a host, *.suffix, .suffix with the name itself, a CIDR",
    isRepeatable: true,
    split: splitCommas,
  },
  {
    name: "upstream-proxy-dns",
    placeholder: "WHO",
    description:
      "who looks names up behind a parent proxy: local checks and asks for addresses; parent asks for the " +
      "name under a rule for exactly this host, whose addresses are then not checked",
    choices: PARENT_DNS,
    default: "local",
  },
  {
    name: "upstream-family",
    placeholder: "FAMILY",
    description: "dial only IPv4 or only IPv6",
    choices: UPSTREAM_FAMILIES,
    default: "any",
  },
  {
    name: "upstream-source",
    placeholder: "ADDRESS",
    description:
      "dial from this local address; once for each family, and a family without one is not dialled",
    isRepeatable: true,
  },
  {
    name: "mode",
    placeholder: "MODE",
    description: "audit looks into requests to unknown hosts and logs them before denying",
    choices: ["strict", "audit"],
    default: "strict",
  },
  {
    name: "explain",
    placeholder: "WHERE",
    description:
      "inside: strict mode ends the TLS of a tunnel that it refuses and says why in there, where " +
      "programs show it; nothing is dialled",
    choices: EXPLAIN,
    default: "connect",
  },
  {
    name: "policy",
    placeholder: "FILE",
    description:
      "a policy file, read at start and at SIGHUP: the clients that it names have exactly its rules, others " +
      "stay as they are; client rotate prints the token of one that it creates",
  },
  {
    name: "cleartext-secrets",
    placeholder: "WHEN",
    description: "inject secrets without TLS where the address dialled is private (RFC 1918, ULA, CGNAT, " +
      "loopback), always, or never; secret create --cleartext allows it for one secret anywhere",
    choices: CLEARTEXT_SECRETS,
    default: "private",
  },
  {
    name: "on-echo",
    placeholder: "WHAT",
    description:
      "an answer that holds the credential which its request was sent with: mask it (and cut off " +
      "compressed answers before its end), cut the answer off, or only log it",
    choices: ON_ECHO,
    default: "mask",
  },
  {
    name: "response-timeout",
    placeholder: "DURATION",
    description: "how long an upstream may think before the head of its answer; allow sets it for a rule",
    default: "10m",
  },
  {
    name: "new-hosts-per-minute",
    placeholder: "N",
    description: "hosts without a certificate yet that a client may open tunnels to in a minute; then 429",
    default: "120",
  },
  {
    name: "socks-auth",
    placeholder: "MODE",
    description: "whether SOCKS without credentials may use passthrough rules",
    choices: ["optional", "required"],
    default: "optional",
  },
  {
    name: "state-dir",
    placeholder: "DIR",
    description: "clients, rules and sealed secrets",
    default: "./.slicer/proxy",
  },
  {
    name: "seal-key-file",
    placeholder: "FILE",
    description: "the key that seals secrets, made when it is missing, instead of STATE-DIR/mk",
  },
  ...STORE_FLAGS,
  {
    name: "store-grace",
    placeholder: "DURATION",
    description: "how long the policy counts while the store is away; then everything is denied",
    default: "5m",
  },
  {
    name: "host-name",
    placeholder: "NAME",
    description: "what this host is called in its fleet, instead of its hostname",
  },
  { name: "api-socket", placeholder: "PATH", description: "the API's socket, instead of STATE-DIR/api.sock" },
  { name: "api-bind", placeholder: "IP:PORT", description: "serve the API over TCP too, with a token" },
  {
    name: "api-advertise",
    placeholder: "HOST[:PORT]",
    description:
      "where the other hosts of the fleet reach that API, to read the audit log, instead of where it is bound",
  },
  {
    name: "api-token-file",
    placeholder: "FILE",
    description: "that token, made when it is missing, instead of STATE-DIR/api-token",
  },
  {
    name: "slicerd",
    placeholder: "URL",
    description:
      "pass calls of the API that are not the proxy's to slicerd: ./slicer.sock, or an http(s) URL",
  },
  {
    name: "slicerd-token-file",
    placeholder: "FILE",
    description: "slicerd's token, for callers over TCP, whose own token is the API's and goes no further",
  },
  {
    name: "ask-webhook",
    placeholder: "URL",
    description: "tell this https URL of every request that waits for a person (allow --ask), signed",
  },
  {
    name: "ask-webhook-secret-file",
    placeholder: "FILE",
    description: "the key of those signatures (HMAC-SHA-256), 16 characters or more",
  },
  {
    name: "log-format",
    placeholder: "FORMAT",
    description: "how the audit log is written",
    choices: ["text", "json"],
    default: "text",
  },
  {
    name: "log-file",
    placeholder: "FILE",
    description: "the audit log's rotated file, instead of STATE-DIR/audit.log",
  },
  {
    name: "audit-otlp",
    placeholder: "URL",
    description:
      "send the audit log to this collector too (OTLP/HTTP, JSON); what it has not taken waits on the disk",
  },
  {
    name: "audit-otlp-headers-file",
    placeholder: "FILE",
    description: "headers for the collector, one a line: Authorization: Bearer TOKEN",
  },
  { name: "audit-otlp-ca", placeholder: "FILE", description: "trust these roots too for the collector" },
  {
    name: "workers",
    placeholder: "N",
    description: "threads that serve; on Linux one for each core, up to 16, when it is left out",
  },
  {
    name: "http2",
    placeholder: "MODE",
    description: "whether inspected tunnels may speak HTTP/2 where both sides do",
    choices: ["on", "off"],
    default: "on",
  },
  { name: "log-query", description: "log the query of requests; it may hold credentials" },
];
