/**
 * Opens what sends the audit log to the collector of `up --audit-otlp`: its headers, whom to trust for it, the queues.
 *
 * Not here: what is sent (`otlp_exporter.ts`), and how calls go out (`proxy/egress/provider_call.ts`): TLS verified, no
 * redirects, an answer of bounded size.
 *
 * @module
 */
import { join } from "node:path";
import { parseCidr } from "../../core/cidr.ts";
import type { Clock } from "../../core/clock.ts";
import { Deadlines } from "../../core/deadlines.ts";
import { ProxyError } from "../../core/errors.ts";
import { DEFAULT_LIMITS, OTLP_LIMITS } from "../../core/limits.ts";
import { logger } from "../../core/log.ts";
import { Admission } from "../../proxy/accept/admission.ts";
import { Dialler, type Resolve } from "../../proxy/egress/dialler.ts";
import type { DialFrom } from "../../proxy/egress/connect/connector.ts";
import type { ParentProxies } from "../../proxy/egress/parents/parents.ts";
import { providerCall } from "../../proxy/egress/provider_call.ts";
import type { Trust } from "../../proxy/egress/tls/trust.ts";
import { readOtlpAnswer } from "../../proxy/records/otlp.ts";
import { LineQueue } from "../../store/audit/line_queue.ts";
import { VERSION } from "../command/cmd_version.ts";
import { readFileBytes } from "../terminal/input_bytes.ts";
import type { UpConfig } from "./config.ts";
import { OtlpExporter, type SendOtlp } from "./otlp_exporter.ts";
import { type OtlpPlace, parseOtlpHeaders } from "./otlp_place.ts";
import { readCertificates } from "./ca_file.ts";

const MAX_HEADERS_BYTES = 16_384;

/**
 * The way to the collector. Headers are read again when it refuses them, so that a token can be replaced in its file.
 *
 * @throws ProxyError `input.invalid` for files that cannot be used
 */
export async function openOtlpTarget(
  { url, headersFile, caFile }: OtlpPlace,
  { denyCidrs, dialFrom, resolve, trust, parents, now }: Pick<UpConfig, "denyCidrs"> & {
    readonly dialFrom?: DialFrom;
    readonly resolve: Resolve;
    readonly trust: Trust;
    readonly parents?: ParentProxies;
    readonly now: () => number;
  },
): Promise<SendOtlp> {
  const pem = caFile === undefined ? [] : (await readCertificates(caFile)).pem;
  const readHeaders = async () => headersFile === undefined ? {} : await readHeaderFile(headersFile);
  let headers = await readHeaders();
  const dialler = new Dialler({
    limits: DEFAULT_LIMITS,
    deadlines: new Deadlines(),
    admission: new Admission(DEFAULT_LIMITS),
    resolve,
    // No VM chose the place, so private networks are open; what is to be dialled by nobody stays closed.
    addresses: { denyCidrs, allowCidrs: [parseCidr("0.0.0.0/0"), parseCidr("::/0")] },
    caCertsFor: (host) => [...trust.certificatesFor(host), ...pem],
    parents,
    dialFrom,
    ownAddresses: () => [],
  });
  const call = providerCall(dialler, DEFAULT_LIMITS, { mayBeClear: true });
  return async (body, signal) => {
    const all = { ...headers, "Content-Type": "application/json", Accept: "application/json" };
    const answer = readOtlpAnswer(await call({ method: "POST", url, headers: all, body }, signal), now());
    if (answer.kind === "later" && answer.isAuth) {
      headers = await readHeaders().catch((error) => {
        logger("audit-otlp").warn(error instanceof ProxyError ? error.message : String(error));
        return headers;
      });
    }
    return answer;
  };
}

async function readHeaderFile(file: string): Promise<Readonly<Record<string, string>>> {
  return parseOtlpHeaders(new TextDecoder().decode(await readFileBytes(file, MAX_HEADERS_BYTES)), file);
}

/**
 * The exporter of `up`, when there is to be one. The state folder has to be there, and locked.
 *
 * @throws ProxyError `input.invalid`, `audit.write-failed`
 */
export async function openOtlpExporter(
  config: Pick<UpConfig, "auditOtlp" | "stateDir" | "hostgroup" | "denyCidrs" | "dialFrom">,
  { resolve, trust, parents, clock }: {
    readonly resolve: Resolve;
    readonly trust: Trust;
    readonly parents: ParentProxies;
    readonly clock: Clock;
  },
): Promise<OtlpExporter | undefined> {
  const { auditOtlp: place, stateDir, hostgroup } = config;
  if (!place) return undefined;
  const send = await openOtlpTarget(place, { ...config, resolve, trust, parents, now: () => clock.now() });
  await using opened = new AsyncDisposableStack();
  const { queue, unauthenticatedQueue } = OTLP_LIMITS;
  const main = opened.use(await LineQueue.open(join(stateDir, "otlp"), queue));
  const unauthenticated = opened.use(
    await LineQueue.open(join(stateDir, "otlp-unauthenticated"), unauthenticatedQueue),
  );
  opened.move(); // the exporter closes them
  return new OtlpExporter({
    queues: { main, unauthenticated },
    source: { version: VERSION, hostgroup },
    send,
    name: `the collector at ${new URL(place.url).host}`,
    log: logger("audit-otlp"),
    monotonic: () => clock.monotonic(),
  });
}
