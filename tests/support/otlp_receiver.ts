/** A collector: takes OTLP/HTTP logs as JSON, and is strict about their form (opentelemetry-proto, `logs/v1/logs.proto`). */
import { assert, assertEquals } from "@std/assert";
import { waitUntil } from "./sockets.ts";

/** A record as it came, with its attributes by key. */
export interface ReceivedRecord {
  readonly timeUnixNano: string;
  readonly severityText: string;
  readonly eventName: string;
  readonly body: string;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  /** Of the resource. */
  readonly resource: Readonly<Record<string, string | number | boolean>>;
}

/** What is done with a request; undefined takes it. */
export type Behave = (request: Request, records: readonly ReceivedRecord[]) =>
  | Response
  | undefined
  | Promise<Response | undefined>;

export class OtlpReceiver implements AsyncDisposable {
  /** Of requests that were taken, in their order. */
  readonly taken: ReceivedRecord[] = [];
  /** All requests, with how many records each had. */
  readonly requests: { readonly headers: Headers; readonly count: number }[] = [];
  /** Why a request had not the right form. */
  readonly faults: string[] = [];
  behave: Behave = () => undefined;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(
    { port = 0, tls }: { port?: number; tls?: { readonly cert: string; readonly key: string } } = {},
  ) {
    const options = { hostname: "127.0.0.1", port, onListen() {}, ...tls };
    this.#server = Deno.serve(options, (request) => this.#answer(request));
  }

  get port(): number {
    return this.#server.addr.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Distinct records by their uid. */
  get uids(): ReadonlySet<unknown> {
    return new Set(this.taken.map(({ attributes }) => attributes["log.record.uid"]));
  }

  async waitFor(count: number): Promise<void> {
    await waitUntil(`${count} records`, () => this.uids.size >= count);
    assertEquals(this.faults, []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
    assertEquals(this.faults, []);
  }

  async #answer(request: Request): Promise<Response> {
    const text = await request.text();
    let records: readonly ReceivedRecord[];
    try {
      assertEquals([request.method, new URL(request.url).pathname], ["POST", "/v1/logs"]);
      assertEquals(request.headers.get("content-type"), "application/json");
      records = readRequest(JSON.parse(text));
    } catch (error) {
      this.faults.push(String(error));
      return new Response(null, { status: 400 });
    }
    this.requests.push({ headers: request.headers, count: records.length });
    const answer = await this.behave(request, records);
    if (answer) return answer;
    this.taken.push(...records);
    return Response.json({ partialSuccess: {} });
  }
}

function readRequest(json: unknown): readonly ReceivedRecord[] {
  const [resourceLogs, ...others] = list(fields(json, ["resourceLogs"])["resourceLogs"]);
  assertEquals(others, []);
  const { resource, scopeLogs } = fields(resourceLogs, ["resource", "scopeLogs"]);
  const source = readAttributes(fields(resource, ["attributes"])["attributes"]);
  assertEquals(source["service.name"], "slicer-proxy");
  return list(scopeLogs).flatMap((each) => {
    const { scope, logRecords } = fields(each, ["scope", "logRecords"]);
    const { name, version } = fields(scope, ["name", "version"]);
    assertEquals([name, typeof version], ["slicer-proxy.audit", "string"]);
    return list(logRecords).map((record) => readRecord(record, source));
  });
}

function readRecord(json: unknown, resource: ReceivedRecord["resource"]): ReceivedRecord {
  const record = fields(json, [
    ...["timeUnixNano", "observedTimeUnixNano", "severityNumber", "severityText", "eventName", "body"],
    "attributes",
  ]);
  const { timeUnixNano, observedTimeUnixNano, severityNumber, severityText, eventName } = record;
  for (const nanos of [timeUnixNano, observedTimeUnixNano]) assert(isInteger64(nanos), `time ${nanos}`);
  assert(severityNumber === 9 && severityText === "INFO" || severityNumber === 13 && severityText === "WARN");
  assert(typeof eventName === "string" && typeof timeUnixNano === "string");
  const body = readValue(record["body"]);
  assert(typeof body === "string");
  return {
    timeUnixNano,
    severityText,
    eventName,
    body,
    resource,
    attributes: readAttributes(record["attributes"]),
  };
}

function readAttributes(json: unknown): Record<string, string | number | boolean> {
  const found: Record<string, string | number | boolean> = {};
  for (const each of list(json)) {
    const { key, value } = fields(each, ["key", "value"]);
    assert(typeof key === "string" && /^[a-z][a-z0-9_.]*$/.test(key) && !(key in found), `key ${key}`);
    found[key] = readValue(value);
  }
  return found;
}

function readValue(json: unknown): string | number | boolean {
  assert(typeof json === "object" && json !== null && !Array.isArray(json));
  const [[kind, value] = [], ...others] = Object.entries(json);
  assertEquals(others, []);
  if (kind === "stringValue") {
    assert(typeof value === "string" && value.isWellFormed());
    return value;
  }
  if (kind === "boolValue") {
    assert(typeof value === "boolean");
    return value;
  }
  assertEquals(kind, "intValue");
  assert(isInteger64(value), `integer ${value}`);
  return Number(value);
}

/** 64-bit integers are decimal strings in protobuf's JSON. */
function isInteger64(value: unknown): boolean {
  return typeof value === "string" && /^-?\d{1,19}$/.test(value);
}

function fields(json: unknown, names: readonly string[]): Record<string, unknown> {
  assert(typeof json === "object" && json !== null && !Array.isArray(json));
  const found = Object.fromEntries(Object.entries(json));
  assertEquals(Object.keys(found).sort(), [...names].sort());
  return found;
}

function list(json: unknown): readonly unknown[] {
  assert(Array.isArray(json));
  return json;
}
