/**
 * A worker that makes audit records at a steady rate, in batches as a worker of the proxy sends them, and questions (`main_thread.ts`).
 *
 * @module
 */
/// <reference lib="deno.worker" />
import type { AuditRecord } from "../policy/audit_record.ts";

/** What one source is told. */
export interface SourceOrder {
  readonly perSecond: number;
  readonly forMs: number;
  /** Asks one thing for each record too, as for the credential of a login. */
  readonly asks: boolean;
}

/** As long as `workers/record_sender.ts` gathers. */
const GATHER_MS = 5;

const RECORD: AuditRecord = {
  verdict: "allow",
  client: "agent-17",
  method: "POST",
  scheme: "https",
  host: "api.example.com",
  port: 443,
  path: "/v1/messages",
  status: 200,
  secret: "llm-key",
  sent: 512,
  received: 1_024,
  durationMs: 12.5,
  setupMs: 1.5,
  origin: { src: "192.0.2.17:40123", proxyPort: 3128, tls: "1.3" },
};

self.onmessage = async ({ data }: MessageEvent<SourceOrder | { readonly id: number }>) => {
  if (!("forMs" in data)) return; // an answer
  const startedAt = performance.now();
  let sent = 0;
  for (let now = startedAt; now - startedAt < data.forMs; now = performance.now()) {
    const due = Math.floor((now - startedAt) * data.perSecond / 1_000) - sent;
    if (due > 0) self.postMessage(Array.from({ length: due }, () => ({ ...RECORD, durationMs: sent % 97 })));
    for (let i = 0; data.asks && i < due; i++) self.postMessage({ question: "credential", id: sent + i });
    sent += Math.max(0, due);
    await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
  }
  self.postMessage("end");
};
