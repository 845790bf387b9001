/**
 * A second look at an upstream whose certificate was refused, so that the refusal can name what is wrong. The TLS library says
 * that an issuer is unknown and not which one, and gives out no certificate of a handshake that has failed.
 *
 * The look is a handshake that nothing is verified in, and so nothing may go over it: it shows no credential, sends no byte
 * after the handshake, and is closed when the certificates are there. It goes to an address that was checked and has just
 * answered, at most once a minute for a place and to a few places at a time, however many requests fail there; who asked
 * waits for it a few seconds at most. What it finds makes words, and never makes anything trusted.
 *
 * Not here: the words (`../../tls/shown_chain.ts`).
 *
 * @module
 */
import type { PeerCertificate, TLSSocket } from "node:tls";
import type { ProxyError } from "../../../core/errors.ts";
import { isIpLiteral } from "../../../core/host_port.ts";
import { cutHandshake } from "../../../core/node_tls.ts";
import { RecentMap } from "../../../core/recent_map.ts";
import { refusedCertificate } from "../../tls/errors.ts";
import {
  findInChain,
  type ShownCertificate,
  type ShownChain,
  type ShownName,
  shownUrl,
} from "../../tls/shown_chain.ts";

/** A handshake takes two or three round trips. */
const LOOK_MS = 3_000;
/** Between two looks at a place. */
const REST_MS = 60_000;
/** Clients choose the hosts. */
const MAX_PLACES = 256;
const MAX_AT_ONCE = 4;
/** Longer chains are not followed: real ones have two or three. */
const MAX_CERTIFICATES = 8;

/** Where to look. */
export interface LookPlace {
  readonly host: string;
  readonly port: number;
  /** One that was checked. */
  readonly address: string;
}

interface Look {
  readonly untilMs: number;
  readonly chain: Promise<ShownChain | undefined>;
}

/** The looks of a dialler. */
export class CertificateLooks {
  readonly #looks = new RecentMap<string, Look>(MAX_PLACES);
  readonly #look: (place: LookPlace) => Promise<ShownChain | undefined>;
  readonly #now: () => number;
  #underWay = 0;

  /** Tests pass their own look, which never rejects, and clock (monotonic milliseconds). */
  constructor(look: typeof lookAt = lookAt, now: () => number = () => performance.now()) {
    this.#look = look;
    this.#now = now;
  }

  /** The same failure with what the certificates say, where they say more. Never rejects. */
  async tellMore(failure: ProxyError, place: LookPlace, signal: AbortSignal): Promise<ProxyError> {
    if (!TELLABLE.has(failure.reason ?? "")) return failure;
    const chain = await untilAborted(this.#chainOf(place), signal);
    const found = chain && findInChain(failure.reason, chain, Date.now());
    return found ? refusedCertificate(place.host, found, failure.cause) : failure;
  }

  async #chainOf(place: LookPlace): Promise<ShownChain | undefined> {
    const key = `${place.host} ${place.port}`;
    const known = this.#looks.get(key);
    if (known && this.#now() < known.untilMs) return await known.chain;
    if (this.#underWay >= MAX_AT_ONCE) return undefined;
    this.#underWay++;
    const chain = this.#look(place).finally(() => this.#underWay--);
    this.#looks.set(key, { untilMs: this.#now() + REST_MS, chain });
    return await chain;
  }
}

/** Of these a chain says more than the library. */
const TELLABLE: ReadonlySet<string> = new Set(["tls-unknown-issuer", "tls-expired", "tls-not-yet-valid"]);

/** The certificates that are shown at a place; undefined when there are none in time. Never rejects. */
export async function lookAt({ host, port, address }: LookPlace): Promise<ShownChain | undefined> {
  let socket: TLSSocket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isLate = false;
  try {
    const { connect } = await import("node:tls");
    const opened = socket = connect({
      host: address,
      port,
      ...(isIpLiteral(host) ? {} : { servername: host }),
      rejectUnauthorized: false, // see the module
    });
    await new Promise<void>((resolve, reject) => {
      opened.once("secureConnect", resolve);
      opened.on("error", reject); // for as long as the socket lives: an error that nobody takes ends the process
      opened.once("close", () => reject(new Error("closed in the handshake")));
      timer = setTimeout(() => {
        isLate = true;
        cutHandshake(opened);
      }, LOOK_MS);
    });
    if (isLate) return undefined; // Deno 2.7 takes the end of a connection for that of the handshake
    // Deno 2.7 takes everything for authorized in this mode, and gives the first certificate alone.
    return { certificates: certificatesOf(opened.getPeerCertificate(true)), isWhole: !opened.authorized };
  } catch {
    return undefined; // it was refused before, and that is still all there is to say
  } finally {
    clearTimeout(timer);
    socket?.destroy();
  }
}

function certificatesOf(first: PeerCertificate): readonly ShownCertificate[] {
  const found: ShownCertificate[] = [];
  const seen = new Set<unknown>();
  let next: (PeerCertificate & { issuerCertificate?: PeerCertificate }) | undefined = first;
  while (next?.subject && !seen.has(next) && found.length < MAX_CERTIFICATES) {
    seen.add(next); // a root is its own issuer
    found.push({
      subject: nameOf(next.subject),
      issuer: nameOf(next.issuer),
      beginsAtMs: Date.parse(next.valid_from),
      endsAtMs: Date.parse(next.valid_to),
      issuerUrl: shownUrl(next.infoAccess?.["CA Issuers - URI"]?.[0]),
    });
    next = next.issuerCertificate;
  }
  return found;
}

/** A part may be there more than once. */
function nameOf(name: PeerCertificate["subject"]): ShownName {
  const first = (value: unknown): string | undefined => {
    const text: unknown = Array.isArray(value) ? value[0] : value;
    return typeof text === "string" ? text : undefined;
  };
  return { commonName: first(name.CN), organization: first(name.O) };
}

/** The promise's value, or undefined once the signal aborts. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  const { promise: aborted, resolve } = Promise.withResolvers<undefined>();
  const onAbort = () => resolve(undefined);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
