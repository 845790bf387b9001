/**
 * Every limit of the data plane in one place, with unit and reason. A limit that is reached refuses new work with a
 * clear answer and leaves what is running alone.
 *
 * @module
 */

/** See each field. Tests pass smaller ones. */
export interface Limits {
  /** Bytes of a request or response head; 64 KiB is what Squid allows and eight times nginx's default. */
  readonly maxHeadBytes: number;
  /** Header fields in a head or trailer section. Real clients send 10 to 60. */
  readonly maxHeaderCount: number;
  /** Bytes of one chunk-size line with its extensions (RFC 9112 §7.1.1 asks for a limit). */
  readonly maxChunkLineBytes: number;
  /** Bytes of a trailer section. */
  readonly maxTrailerBytes: number;
  /** Bytes of a ClientHello; post-quantum key shares make it 2 to 4 KiB, and it may span records. */
  readonly maxClientHelloBytes: number;
  /** Interim (1xx) responses before the final one; each is forwarded, none may go on for ever. */
  readonly maxInterimResponses: number;

  /** Streams under way on an HTTP/2 connection, either role; what RFC 9113 §6.5.2 recommends, and what browsers expect. */
  readonly maxHttp2Streams: number;
  /** HTTP/2 requests of one client under way, over all its connections: as many as HTTP/1.1 connections. */
  readonly maxHttp2StreamsPerClient: number;
  /** Connections to one upstream for one client and credential: all streams of a client have a place, 100 on each. */
  readonly maxHttp2UpstreamsPerKey: number;
  /**
   * Requests that a connection, and one that all connections of a client, may have begun or ended in a turn of the event loop:
   * each takes about 0.3 ms, and everybody else waits meanwhile.
   */
  readonly maxHttp2HeadsInTurn: number;
  /** Frames that a connection may bring before others have their turn: a read of small ones, a megabyte of large ones. */
  readonly maxHttp2FramesInTurn: number;
  /** CONTINUATION frames of one header block: whole heads of `maxHeadBytes` need three (CVE-2024-27316 and its like). */
  readonly maxHttp2Continuations: number;
  /** What a client may send of one stream's body before the upstream has taken it. */
  readonly http2StreamWindowBytes: number;
  /** The same of an upstream, which is farther away: a window is a round trip's worth. */
  readonly http2UpstreamWindowBytes: number;
  /** What that may grow to: at 100 ms a stream then brings 40 MB/s, as a kernel lets HTTP/1.1, and 5 MB/s without. */
  readonly maxHttp2UpstreamWindowBytes: number;
  /** By how much all streams' windows together may have grown: an upstream can have it held by clients that do not read. */
  readonly maxHttp2GrowthBytes: number;
  /** The same of one client: four large ones. */
  readonly maxHttp2GrowthBytesPerClient: number;
  /** The same of all streams of a connection, before any has grown; the most that a peer can make us hold of bodies. */
  readonly http2ConnectionWindowBytes: number;
  /** Bytes that wait for an HTTP/2 peer's socket: beyond, no body bytes are added; beyond twice that, nothing is read. */
  readonly maxHttp2BacklogBytes: number;
  /** What a waiting write must get on by within `bodyIdleTimeoutMs`, so that windows of one byte do not hold it for ever. */
  readonly minHttp2ProgressBytes: number;
  /** Streams that an HTTP/2 upstream resets or makes us reset, at once and per second; nghttp2's numbers. */
  readonly maxHttp2Resets: number;
  /** The same at once of a client's connection: all its streams are cancelled twice (CVE-2023-44487, CVE-2025-8671). */
  readonly maxHttp2ClientResets: number;
  readonly http2ResetsPerSecond: number;
  /** Streams that a connection has reset last: what their peers sent before they knew is no error. Ten times what may be open. */
  readonly maxHttp2RememberedResets: number;
  /**
   * Streams that a client resets, makes us reset or leaves behind with its connections, at once and per second, over all its
   * connections and for each thread: three full connections may die at a time. Beyond, its new streams are refused.
   */
  readonly maxHttp2ResetsPerClient: number;
  readonly http2ResetsPerClientPerSecond: number;
  /** PING, SETTINGS, PRIORITY, empty DATA and the like without traffic that needs them, at once and per second. */
  readonly maxHttp2ControlFrames: number;
  readonly http2ControlFramesPerSecond: number;

  /** From accept to the first byte, and from the first byte of a head to its end (slowloris). */
  readonly headTimeoutMs: number;
  /** From the first byte of a ClientHello to the end of the handshake, on either side. */
  readonly handshakeTimeoutMs: number;
  /** Between requests of a keep-alive connection. */
  readonly keepAliveTimeoutMs: number;
  /** From the head to the end of a body that is read before anything is decided: 1 MiB at 35 KB/s, on a bad line. */
  readonly bodyReadTimeoutMs: number;
  /** Without a byte in either direction while a body is under way. */
  readonly bodyIdleTimeoutMs: number;
  /** From the end of the request to the head of the response; language models think for minutes. */
  readonly responseTimeoutMs: number;
  /** Without a byte in either direction of a passthrough or upgraded stream; SSH sessions rest for long. */
  readonly tunnelIdleTimeoutMs: number;
  /** How long the second direction of a splice may go on without a byte after the first has ended. */
  readonly halfCloseTimeoutMs: number;
  /** How long a connection that is being closed is still read, so that the peer gets our last bytes. */
  readonly lingerTimeoutMs: number;
  /**
   * A client in clear whose sending side ends within so long of its request waits for the answer, as `nc -N` does; one that
   * ends later has gone away. The two look alike, and the time between a program's last write and its half-close is short.
   */
  readonly endWithRequestMs: number;
  /** Name resolution. */
  readonly resolveTimeoutMs: number;
  /** The TCP connect, over all addresses of a name that are tried. */
  readonly connectTimeoutMs: number;
  /** How long one address of a name has to answer before the next is tried beside it (RFC 8305 §5). */
  readonly connectAttemptDelayMs: number;
  /** From the dial of a parent proxy to its answer, over all addresses: our own connect time-out, and as much for the parent's. */
  readonly parentTimeoutMs: number;
  /** How long a parent proxy has for one address of a name before it is asked for the next beside it: it dials itself. */
  readonly parentAttemptDelayMs: number;

  /** Client connections in all. An inspected tunnel takes four descriptors, six with TLS around it. */
  readonly maxConnections: number;
  /** Client connections of one authenticated client, so that one cannot starve the others; fewer when places are scarce. */
  readonly maxConnectionsPerClient: number;
  /** What a client may have although places are scarce, while there are any: one page of a browser takes six. */
  readonly minConnectionsPerClient: number;
  /** Those that have not said who they are; half of all at most. At the limit the oldest of the largest source makes room. */
  readonly maxUnauthenticated: number;
  /** How many of these each thread may have, whatever the others have. */
  readonly ownUnauthenticated: number;
  /** A shorter token can be guessed; 16 characters of base64 are 96 bits. */
  readonly minUnguessableTokenChars: number;
  /** Wrong tokens of one source address (IPv6: one /64): four digits then last eight hours, and a typing error is forgiven. */
  readonly maxWrongTokensPerSourcePerMinute: number;
  /** Sources with wrong tokens that are counted at a time; beyond, those that are not get no guess until the minute is over. */
  readonly maxWrongTokenSources: number;
  /** Connections admitted without credentials (SOCKS), in all. */
  readonly maxAnonymousConnections: number;
  /** Bytes of request bodies that are kept for a renewed credential, in all: 1 MiB each, and every stream may have one. */
  readonly maxKeptBytes: number;
  /** Bytes of request bodies that are held until they can be signed (AWS), in all. */
  readonly maxHeldBytes: number;
  /** Those of one client: two bodies as large as one may be, or many small ones. */
  readonly maxHeldBytesPerClient: number;
  /** Upstream look-ups, connects and handshakes under way, in all: each may hold a descriptor that only the peer frees. */
  readonly maxPendingDials: number;
  /** Those of one client. */
  readonly maxPendingDialsPerClient: number;
  /** Those to one destination: one silent place must not use up what the others need. */
  readonly maxPendingDialsPerDestination: number;
  /** Idle upstream connections kept, in all; those of HTTP/2 beside the first for a client and place count too. */
  readonly maxIdleUpstream: number;
  /** Idle upstream connections kept per pool key. */
  readonly maxIdleUpstreamPerKey: number;
  /** How long an idle upstream connection is kept. */
  readonly idleUpstreamTimeoutMs: number;
  /**
   * The oldest idle connection that a request which cannot be replayed may use, where nothing was learnt of the upstream:
   * gunicorn closes idle ones after 2 s, which is the shortest in use.
   */
  readonly freshUpstreamMs: number;
  /** Loopback TLS listeners kept open, one per intercepted host. */
  readonly maxTlsListeners: number;
  /**
   * Hosts without a certificate that a client may open tunnels to in a minute: minting is the most expensive thing it can ask
   * for. Set by `up --new-hosts-per-minute`.
   */
  readonly maxMintsPerClientPerMinute: number;
  /** How long running requests may go on after a stop was asked for. */
  readonly drainTimeoutMs: number;
}

/** The limits of a running proxy. */
export const DEFAULT_LIMITS: Limits = {
  maxHeadBytes: 65_536,
  maxHeaderCount: 256,
  maxChunkLineBytes: 4_096,
  maxTrailerBytes: 16_384,
  maxClientHelloBytes: 65_536,
  maxInterimResponses: 32,

  maxHttp2Streams: 100,
  maxHttp2StreamsPerClient: 1_200,
  maxHttp2UpstreamsPerKey: 12,
  maxHttp2HeadsInTurn: 8,
  maxHttp2FramesInTurn: 64,
  maxHttp2Continuations: 8,
  http2StreamWindowBytes: 262_144,
  http2UpstreamWindowBytes: 524_288,
  maxHttp2UpstreamWindowBytes: 4_194_304,
  maxHttp2GrowthBytes: 134_217_728,
  maxHttp2GrowthBytesPerClient: 16_777_216,
  http2ConnectionWindowBytes: 1_048_576,
  maxHttp2BacklogBytes: 131_072,
  minHttp2ProgressBytes: 4_096,
  maxHttp2Resets: 1_000,
  maxHttp2ClientResets: 200,
  http2ResetsPerSecond: 33,
  maxHttp2RememberedResets: 1_024,
  maxHttp2ResetsPerClient: 300,
  http2ResetsPerClientPerSecond: 66,
  maxHttp2ControlFrames: 1_000,
  http2ControlFramesPerSecond: 33,

  headTimeoutMs: 15_000,
  handshakeTimeoutMs: 15_000,
  keepAliveTimeoutMs: 300_000,
  bodyReadTimeoutMs: 30_000,
  bodyIdleTimeoutMs: 600_000,
  responseTimeoutMs: 600_000,
  tunnelIdleTimeoutMs: 4 * 3_600_000,
  halfCloseTimeoutMs: 120_000,
  lingerTimeoutMs: 2_000,
  endWithRequestMs: 500,
  resolveTimeoutMs: 10_000,
  connectTimeoutMs: 10_000,
  connectAttemptDelayMs: 250,
  parentTimeoutMs: 20_000,
  parentAttemptDelayMs: 2_000,

  maxConnections: 4_700,
  maxConnectionsPerClient: 1_200,
  minConnectionsPerClient: 8,
  maxUnauthenticated: 2_048,
  ownUnauthenticated: 2_048,
  minUnguessableTokenChars: 16,
  maxWrongTokensPerSourcePerMinute: 20,
  maxWrongTokenSources: 4_096,
  maxAnonymousConnections: 64,
  maxKeptBytes: 67_108_864,
  maxHeldBytes: 268_435_456,
  maxHeldBytesPerClient: 67_108_864,
  maxPendingDials: 1_024,
  maxPendingDialsPerClient: 512,
  maxPendingDialsPerDestination: 512,
  maxIdleUpstream: 512,
  maxIdleUpstreamPerKey: 256,
  idleUpstreamTimeoutMs: 60_000,
  freshUpstreamMs: 1_000,
  maxTlsListeners: 400,
  maxMintsPerClientPerMinute: 120,
  drainTimeoutMs: 10_000,
};

/** The longest time-out for responses that anybody may ask for: a day, as batch endpoints promise their answers. */
export const MAX_RESPONSE_TIMEOUT_MS = 86_400_000;

/** The longest that a request may wait for a person. */
export const MAX_ASK_TIMEOUT_MS = 86_400_000;

/** Requests that wait for a person (`allow --ask`). Each holds a connection, or a stream, and is a line that somebody reads. */
export const ASK_LIMITS = {
  /** In all. */
  max: 256,
  /** Of one client: more than a person looks through, and few enough that some clients leave room for others. */
  maxPerClient: 16,
  /** Programs wait for minutes at most, and so do people who were just asked. */
  defaultTimeoutMs: 300_000,
  /** Characters of the reason that a program gives for a rule it asks for. */
  maxReasonChars: 500,
  /** Bytes of the body that holds it, with the longest URL. */
  maxBodyBytes: 8_192,
} as const;

/** Members of all `Connection` fields of a request. Clients send three; each is looked up, and costs the server something. */
export const MAX_CONNECTION_MEMBERS = 64;

/**
 * The largest request body that is held to be hashed, for AWS SDKs that sign a body's hash and do not send it (botocore, but for
 * S3): Bedrock takes 25 MB, DynamoDB 16 MB, Lambda 6 MB.
 */
export const MAX_HASHED_BODY_BYTES = 33_554_432;

/**
 * The most that a client connection takes: its socket, two ends of a loopback hop for the TLS around it, two for the TLS
 * inside, and the upstream's. A tunnel through a clear port takes four.
 */
const DESCRIPTORS_PER_CONNECTION = 6;
/** The runtime's own, the store, logs, listeners. Measured: 40 after the start. */
const OWN_DESCRIPTORS = 96;
/** A worker's event loop and its listeners. Measured: 9. */
const DESCRIPTORS_PER_WORKER = 12;
/** A full house of the API over TCP (128 connections, three each) with files that are written meanwhile. */
const MOST_FOR_CONTROL = 448;

/**
 * The limits as this process can keep them: no more of anything than there are descriptors for, so that a full house refuses
 * new clients instead of failing those inside, and never the API or the log. A small allowance is shared out in parts that
 * grow with it.
 *
 * @param descriptors how many the process may have open; undefined when that is unknown
 * @param process the threads of its data plane, and what a connection to an upstream takes
 */
export function fitLimits(
  limits: Limits,
  descriptors: number | undefined,
  { threads = 1, perUpstream = 1 }: { readonly threads?: number; readonly perUpstream?: number } = {},
): Limits {
  if (descriptors === undefined) return limits;
  const part = (most: number, share: number) => Math.min(most, Math.max(1, Math.floor(descriptors / share)));
  const maxIdleUpstream = part(limits.maxIdleUpstream, 32);
  const maxTlsListeners = part(limits.maxTlsListeners, 16);
  const maxPendingDials = part(limits.maxPendingDials, 16);
  const racing = Math.ceil(maxPendingDials / 2); // beside the one of each connection: `Admission.tryExtraConnect`
  const control = OWN_DESCRIPTORS + DESCRIPTORS_PER_WORKER * threads + part(MOST_FOR_CONTROL, 8);
  const rest = descriptors - (maxIdleUpstream + racing) * perUpstream - maxTlsListeners - control;
  const most = Math.max(1, Math.floor(rest / (DESCRIPTORS_PER_CONNECTION - 1 + perUpstream)));
  const maxConnections = Math.min(limits.maxConnections, most);
  return {
    ...limits,
    maxConnections,
    maxUnauthenticated: Math.min(limits.maxUnauthenticated, Math.ceil(maxConnections / 2)),
    maxIdleUpstream,
    maxTlsListeners,
    maxPendingDials,
    ...(maxPendingDials === limits.maxPendingDials ? {} : {
      maxPendingDialsPerClient: Math.min(limits.maxPendingDialsPerClient, Math.ceil(maxPendingDials / 2)),
      maxPendingDialsPerDestination: Math.min(
        limits.maxPendingDialsPerDestination,
        Math.ceil(maxPendingDials / 2),
      ),
    }),
  };
}

/**
 * What the audit log keeps of what others choose, and what may wait for it. Sizes of records are reckoned, not measured: a
 * character counts as a byte, and a line of text may have three for it.
 */
export const RECORD_LIMITS = {
  /** Characters of a path or query. Browsers stop at 2,083; beyond it a digest tells one from another. */
  maxPathChars: 2_048,
  /** Characters of any other text. A host has 253 at most, a name 64. */
  maxTextChars: 256,
  /** A record without its path, query and host. */
  baseBytes: 320,
  /** What is written at once: the main thread makes no longer text in one go. */
  maxPieceBytes: 1_048_576,
  /** While more waits for the disk, new requests are refused. From half of that on, denials are only counted. */
  maxQueuedBytes: 33_554_432,
  /** Denials of one client that have lines of their own: 13,000 at once, two a second after that. The rest is counted. */
  denialsOfClient: { burstBytes: 4_194_304, bytesPerSecond: 512 },
  /** Denials of one source address that has not said who it is, likewise. */
  denialsOfSource: { burstBytes: 1_048_576, bytesPerSecond: 256 },
  /** Clients and sources whose budgets are remembered, the least recent goes first. */
  maxBudgets: 4_096,
  /** Open exchanges that the main thread knows of each worker, should it be lost; of more it knows the number. */
  openSlots: 4_096,
  /** The line of one of them, without its path: the longest host and the longest names fit. */
  openSlotBytes: 1_024,
  /** Records of a worker that the main thread has not taken; as `maxQueuedBytes`. */
  maxUntakenBytes: 8_388_608,
} as const;

/** The queue of the audit log that leaves the host (`up --audit-otlp`), and how it is sent. */
export const OTLP_LIMITS = {
  /** What waits for the collector: 300,000 records and more, hours of a host with thirty requests a second. */
  queue: { maxBytes: 134_217_728, segmentBytes: 4_194_304 },
  /** Of those who did not say who they are, apart: whoever reaches a port fills this one, and takes nobody's place. */
  unauthenticatedQueue: { maxBytes: 16_777_216, segmentBytes: 1_048_576 },
  /** Records in a request: some 750 KiB with their attributes, and collectors take 4 MiB and more. */
  maxBatchRecords: 500,
  /** Records that are made ready in one go: a millisecond, in which a proxy with one thread does nothing else. */
  recordsPerTurn: 100,
  /** The same, in bytes as they wait: a batch of long paths is a short one. The longest record has some 50 KiB. */
  maxBatchBytes: 393_216,
  /** How long the first record waits for others. */
  gatherMs: 1_000,
  /** For a request and its answer: OTLP's own default. */
  timeoutMs: 10_000,
  /** From a failure to the next try: doubled each time, with a random part. */
  minRetryMs: 1_000,
  maxRetryMs: 60_000,
  /** What a collector may ask for by `Retry-After`. */
  maxRetryAfterMs: 300_000,
  /** For what is left when the proxy stops; the rest waits on the disk. */
  closingMs: 2_000,
  /** Characters of what a collector says that are logged. */
  maxWhyChars: 200,
} as const;

/**
 * Reading the audit logs of a fleet's other hosts (`logs --fleet`). A host is asked as a stranger: it may be somebody else's by
 * now, and neither stop the others nor fill this host's memory.
 */
export const FLEET_LOG_LIMITS = {
  /** Hosts that one call asks: five times what a fleet is measured for. Of more it is said that they are not asked. */
  maxHosts: 100,
  /** Such calls at once: each is a connection to every host, with up to 1.3 MiB of what has come from it. */
  maxCalls: 4,
  /** From the dial to the head of the answer: hosts of a fleet are near each other. */
  openMs: 5_000,
  /** Without a byte: a host that has nothing to say sends an empty line every 15 seconds. */
  silenceMs: 40_000,
  /** Without a record while others wait for its place among them: a full log is searched in less. */
  recordMs: 30_000,
  /** The longest record has some 50 KiB of JSON. */
  maxLineChars: 65_536,
  /** What is stored on a host: its log has 240 MiB at most. */
  maxStoredChars: 536_870_912,
  /** The newest records, held until the oldest of them is found; as of one host's log. */
  maxNewestChars: 16_777_216,
  /** How long a live record waits for earlier ones of other hosts: more than they take to get here. */
  windowMs: 500,
  /** Live records of one host that wait so, in characters of their lines: some 4,000, 8,000 a second. More wait on that host. */
  maxWindowChars: 1_048_576,
  /** How often a host that does not answer is tried again, and new ones are looked for, by one who follows. */
  retryMs: 5_000,
} as const;

/** Looking up names with our own questions (`up --dns`), and how many are asked of the system's resolver. For each thread. */
export const NAME_LIMITS = {
  /** Questions under way. Each has a socket; most name servers answer within 50 ms, so that these are 1,000 a second. */
  maxQuestions: 64,
  /** Those of one client, so that slow names of one leave room for the others'. The rest of its questions wait. */
  maxQuestionsPerClient: 16,
  /** Records of an answer that are read. The busiest names have 30 addresses; a TCP answer has room for 4,000. */
  maxRecords: 128,
  /** Aliases on the way from a name to its addresses, in one answer and in all. Resolvers stop at 8 to 16. */
  maxAliases: 16,
  /** Bytes of an answer over TCP, TLS or HTTPS. 128 addresses take 4 KiB; long TXT records the rest. */
  maxAnswerBytes: 16_384,
  /** Datagrams on the socket of one question that do not answer it: somebody guesses, and the question goes to TCP. */
  maxStrays: 32,
  /** Answers that are remembered. When they are too many, the oldest of the client with the most goes. */
  maxAnswers: 4_096,
  /** A TTL of 0, as rebinding has it, would have the name asked for with every request. */
  minTtlSeconds: 1,
  /** Some TTLs are a week; an operator who moved a service does not wait for so long. */
  maxTtlSeconds: 3_600,
  /** That a name does not exist, or has no address (RFC 2308 §5 would allow hours): it was perhaps just being made. */
  maxNegativeTtlSeconds: 300,
  /** That no server could say (RFC 9520 §3.2: at least a second). */
  failureTtlSeconds: 1,
  /** How long behind its end an answer is still good for while every name server is away (RFC 8767). */
  maxStaleSeconds: 3_600,
  /** How long such an answer is used before the servers are asked again (RFC 8767 §5). */
  staleTtlSeconds: 30,
  /** How long to wait for a server where such an answer is at hand (RFC 8767 §5: 1.8 s). */
  staleAfterMs: 1_800,
  /** How long one server is waited for before the next is asked, in the first round, the second and so on. */
  attemptMs: [1_500, 3_000, 5_000],
  /** How long the second family of addresses is waited for when the first is there: broken name servers swallow AAAA. */
  secondFamilyMs: 500,
  /** How long a server that did not answer is asked last. */
  awayMs: 30_000,
  /** How long a connection to a name server is kept without a question (RFC 7766 §6.2.3: seconds). */
  idleMs: 10_000,
  /** Connections to one name server that are kept so. */
  maxIdle: 8,
  /** Name servers for one zone. */
  maxServers: 8,
  /** Bytes of `/etc/hosts`; lists of names to block have 3 MiB. */
  maxHostsBytes: 8_388_608,
  /** How often that file is looked at, at most. */
  hostsCheckMs: 5_000,
} as const;
