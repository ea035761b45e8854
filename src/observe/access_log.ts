/**
 * The access log: one JSON line per request, with the attribute names of OpenTelemetry.
 *
 * @module
 */
import { jsonNumber, jsonText, timestamp } from "./json_text.ts";
import { fileSink, type LineSink, standardSink } from "./line_sink.ts";
import { LineWriter } from "./line_writer.ts";
import { redactQuery } from "./redact.ts";

/**
 * What is known of a request when it is over. Plain and flat, so that one record can be filled again and again;
 * `null` leaves a field out.
 */
export interface AccessRecord {
  /** Milliseconds since 1970, when the request head was complete. */
  timestamp: number;
  requestId: string;
  method: string;
  scheme: string;
  /** Host and port that the client asked for. */
  authority: string;
  path: string;
  /** Without the `?`; empty if there is none. */
  query: string;
  /** `id` of the route. */
  route: string | null;
  /** `1.0`, `1.1`, `2`. */
  protocolVersion: string;
  /** Seen through trusted proxies. */
  clientAddress: string;
  clientPort: number;
  /** The other end of the connection. */
  peerAddress: string;
  /** What was agreed on with the client; `null` without TLS. */
  tls: AccessTls | null;
  userAgent: string | null;
  /** Status sent; `0` if none was. */
  status: number;
  /** Content received from the client. */
  bytesIn: number;
  /** Content sent to the client. */
  bytesOut: number;
  /** Milliseconds from the head to the end. */
  duration: number;
  /** Name of the upstream group; `null` also for a peer that a plugin named. */
  upstreamName: string | null;
  /** Address of the last peer; `null` when nobody was asked. */
  upstreamAddress: string | null;
  /** Status of the last peer; `0` if it sent none. */
  upstreamStatus: number;
  upstreamAttempts: number;
  /** Others that were asked because an answer was late. */
  upstreamHedges: number;
  /** Milliseconds to connect; `-1` when the connection was there already or never came about. */
  upstreamConnect: number;
  /** Milliseconds to the first byte of the response; `-1` if there was none. */
  upstreamFirstByte: number;
  upstreamReused: boolean;
  /** Version of HTTP that the upstream was asked by: `1.1`, `2`; empty if there was no connection. */
  upstreamVersion: string;
  /** RFC 9209 token, or the type of the error where there is none. */
  error: string | null;
  /** `upstream`, `downstream`, `internal` or `unset`. */
  errorSource: string | null;
  /** The plugin that answered. */
  shortCircuit: string | null;
  /** Status code of a gRPC call; `-1` for what is none, or ended without one. */
  grpcStatus: number;
  /** What was spoken in the tunnel: `websocket`, `connect`; `null` if none was opened. */
  tunnelProtocol: string | null;
  /** Bytes in the tunnel from the client, and to it. */
  tunnelReceived: number;
  tunnelSent: number;
  /** Why it is over. */
  tunnelEnd: string | null;
  listener: string;
  service: string;
}

/** TLS of a client's connection; what is not known is empty. */
export interface AccessTls {
  /** `TLSv1.3`. */
  readonly version: string;
  readonly cipher: string;
  readonly serverName: string;
  readonly resumed: boolean;
  /** The certificate that the client has shown. */
  readonly certificate: { readonly subject: string; readonly fingerprint: string } | null;
}

/** A record with nothing in it. */
export function emptyAccessRecord(): AccessRecord {
  return {
    timestamp: 0,
    requestId: "",
    method: "",
    scheme: "http",
    authority: "",
    path: "",
    query: "",
    route: null,
    protocolVersion: "1.1",
    clientAddress: "",
    clientPort: 0,
    peerAddress: "",
    tls: null,
    userAgent: null,
    status: 0,
    bytesIn: 0,
    bytesOut: 0,
    duration: 0,
    upstreamName: null,
    upstreamAddress: null,
    upstreamStatus: 0,
    upstreamAttempts: 0,
    upstreamHedges: 0,
    upstreamConnect: -1,
    upstreamFirstByte: -1,
    upstreamReused: false,
    upstreamVersion: "",
    error: null,
    errorSource: null,
    shortCircuit: null,
    grpcStatus: -1,
    tunnelProtocol: null,
    tunnelReceived: 0,
    tunnelSent: 0,
    tunnelEnd: null,
    listener: "",
    service: "",
  };
}

/** What becomes of query strings. */
export type QueryMode = "keep" | "redact" | "drop";

/** Makes the line of a record: ASCII, without a newline. */
export function formatAccessRecord(record: AccessRecord, query: QueryMode): string {
  const failed = record.status >= 500 || record.errorSource === "upstream" ||
    record.errorSource === "internal";
  let line =
    `{"timestamp":"${timestamp(record.timestamp)}","severity":"${
      failed ? "ERROR" : "INFO"
    }","event.name":"http.access","request_id":${jsonText(record.requestId)}` +
    `,"http.request.method":${jsonText(record.method)}` +
    `,"url.scheme":${jsonText(record.scheme)}` +
    `,"server.address":${jsonText(record.authority)}` +
    `,"url.path":${jsonText(record.path)}`;
  if (query !== "drop" && record.query !== "") {
    line += `,"url.query":${jsonText(query === "keep" ? record.query : redactQuery(record.query))}`;
  }
  if (record.route !== null) line += `,"http.route":${jsonText(record.route)}`;
  line += `,"network.protocol.version":${jsonText(record.protocolVersion)}` +
    `,"client.address":${jsonText(record.clientAddress)}` +
    `,"client.port":${jsonNumber(record.clientPort)}` +
    `,"network.peer.address":${jsonText(record.peerAddress)}`;
  if (record.tls !== null) line += tlsFields(record.tls);
  if (record.userAgent !== null) line += `,"user_agent.original":${jsonText(record.userAgent)}`;
  line += `,"http.response.status_code":${jsonNumber(record.status)}` +
    `,"http.request.body.size":${jsonNumber(record.bytesIn)}` +
    `,"http.response.body.size":${jsonNumber(record.bytesOut)}` +
    `,"duration_ms":${jsonNumber(record.duration)}`;
  if (record.upstreamAttempts > 0 || record.upstreamAddress !== null) line += upstream(record);
  if (record.grpcStatus >= 0) line += `,"rpc.grpc.status_code":${jsonNumber(record.grpcStatus)}`;
  if (record.tunnelProtocol !== null) {
    line += `,"tunnel.protocol":${jsonText(record.tunnelProtocol)}` +
      `,"tunnel.received":${jsonNumber(record.tunnelReceived)}` +
      `,"tunnel.sent":${jsonNumber(record.tunnelSent)}`;
    if (record.tunnelEnd !== null) line += `,"tunnel.end":${jsonText(record.tunnelEnd)}`;
  }
  if (record.error !== null) {
    line += `,"proxy.error":${jsonText(record.error)}` +
      `,"proxy.error_source":${jsonText(record.errorSource ?? "unset")}`;
  }
  if (record.shortCircuit !== null) {
    line += `,"plugin.short_circuit":${jsonText(record.shortCircuit)}`;
  }
  return line + `,"sluice.listener":${jsonText(record.listener)}` +
    `,"sluice.service":${jsonText(record.service)}}`;
}

function tlsFields(tls: AccessTls): string {
  const { version, cipher, serverName, resumed, certificate } = tls;
  let text = "";
  // The engine that is faster tells none of these.
  if (version !== "") {
    text += `,"tls.protocol.version":${jsonText(version.replace(/^TLSv/, ""))}` +
      `,"tls.cipher":${jsonText(cipher)},"tls.resumed":${resumed}`;
  }
  if (serverName !== "") text += `,"tls.client.server_name":${jsonText(serverName)}`;
  if (certificate === null) return text;
  return `${text},"tls.client.subject":${jsonText(certificate.subject)}` +
    `,"tls.client.hash.sha256":${jsonText(certificate.fingerprint)}`;
}

function upstream(record: AccessRecord): string {
  let text = "";
  if (record.upstreamName !== null) text += `,"upstream.name":${jsonText(record.upstreamName)}`;
  if (record.upstreamAddress !== null) {
    text += `,"upstream.address":${jsonText(record.upstreamAddress)}`;
  }
  if (record.upstreamVersion !== "") {
    text += `,"upstream.protocol.version":${jsonText(record.upstreamVersion)}`;
  }
  if (record.upstreamStatus > 0) text += `,"upstream.status":${jsonNumber(record.upstreamStatus)}`;
  text += `,"upstream.attempts":${jsonNumber(record.upstreamAttempts)}`;
  if (record.upstreamHedges > 0) {
    text += `,"upstream.hedges":${jsonNumber(record.upstreamHedges)}`;
  }
  if (record.upstreamConnect >= 0) {
    text += `,"upstream.connect_ms":${jsonNumber(record.upstreamConnect)}`;
  }
  if (record.upstreamFirstByte >= 0) {
    text += `,"upstream.ttfb_ms":${jsonNumber(record.upstreamFirstByte)}`;
  }
  return `${text},"upstream.reused":${record.upstreamReused}`;
}

/** Options of {@linkcode AccessLog}. */
export interface AccessLogOptions {
  readonly sink: LineSink;
  /** Default `redact`. */
  readonly query?: QueryMode;
  /** Bytes that may wait to be written before lines are dropped. Default 1 MiB. */
  readonly maxBytes?: number;
  /** Milliseconds between two writes at most. Default 1000. */
  readonly flushInterval?: number;
  /** Called when lines cannot be written; once, until they can again. */
  readonly onError?: (error: unknown) => void;
}

/** Writes records in the background. One per service worker; several may share a file. */
export class AccessLog {
  readonly #writer: LineWriter;
  readonly #query: QueryMode;

  constructor(options: AccessLogOptions) {
    this.#query = options.query ?? "redact";
    this.#writer = new LineWriter({
      sink: options.sink,
      droppedLine,
      ...(options.maxBytes === undefined ? {} : { maxBytes: options.maxBytes }),
      ...(options.flushInterval === undefined ? {} : { flushInterval: options.flushInterval }),
      ...(options.onError === undefined ? {} : { onError: options.onError }),
    });
  }

  /** Records dropped since the start because they could not be written in time. */
  get dropped(): number {
    return this.#writer.dropped;
  }

  /** Takes a record; it may be used again when the call returns. */
  write(record: AccessRecord): void {
    this.#writer.write(formatAccessRecord(record, this.#query));
  }

  /** Writes what has gathered. */
  flush(): Promise<void> {
    return this.#writer.flush();
  }

  /** Opens the file again, after it was moved away. */
  reopen(): Promise<void> {
    return this.#writer.reopen();
  }

  /**
   * Writes what has gathered and closes the file.
   *
   * @param ms How long that may take. Default 2000.
   */
  close(ms?: number): Promise<void> {
    return this.#writer.close(ms);
  }
}

/** Where the access log goes and how. */
export interface AccessLogTarget {
  readonly output: "off" | "stdout" | { readonly file: string };
  readonly query: QueryMode;
}

/**
 * Opens the access log.
 *
 * @returns `null` when it is off.
 * @throws {Error} If the file cannot be opened.
 */
export function openAccessLog(
  target: AccessLogTarget,
  onError?: (error: unknown) => void,
): AccessLog | null {
  if (target.output === "off") return null;
  const { output } = target;
  const sink = output === "stdout" ? standardSink("stdout") : fileSink(
    output.file,
    () => onError?.(new Error(`the file ${output.file} was gone; it was begun anew`)),
  );
  return new AccessLog({ sink, query: target.query, ...(onError ? { onError } : {}) });
}

function droppedLine(dropped: number): string {
  return `{"timestamp":"${
    timestamp(Date.now())
  }","severity":"WARN","event.name":"http.access.dropped","dropped":${dropped}}`;
}
