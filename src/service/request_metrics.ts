/**
 * Counts the requests of a service worker: each costs a few look-ups and additions, and allocates nothing once its
 * kind has been seen.
 *
 * @module
 */
import type { ErrorType, ProxyError } from "../base/error.ts";
import type { Outcome } from "../balancer/backend.ts";
import { type Version, versionText } from "../http/message.ts";
import { reasonPhrase } from "../http/reason.ts";
import type { Histogram, MetricBook } from "../observe/metrics/book.ts";
import type { Exchange } from "../proxy/exchange.ts";
import { ProtocolMetrics } from "./protocol_metrics.ts";

/** Methods with a label of their own; all others share one, because clients make them up. */
const METHODS = [
  ...["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "QUERY"],
  "_OTHER",
] as const;
const OTHER_METHOD = METHODS.length - 1;
const METHOD_INDEX: ReadonlyMap<string, number> = new Map(
  METHODS.slice(0, OTHER_METHOD).map((method, i) => [method, i]),
);

/** Labels of statuses: an upstream may make those up, too. Empty if none was sent. */
const STATUS_LABELS: readonly string[] = Array.from({ length: 1_000 }, (_, status) => {
  if (status < 100) return "";
  return reasonPhrase(status) === "" ? `${Math.floor(status / 100)}xx` : String(status);
});
/** Statuses that share a label share a number. */
const STATUS_INDEX: Uint16Array = Uint16Array.from(
  STATUS_LABELS,
  (label) => STATUS_LABELS.indexOf(label),
);

const VERSIONS: readonly Version[] = [10, 11, 20, 30];
const SCHEMES = ["http", "https"] as const;
const SOURCES = ["upstream", "downstream", "internal", "unset"] as const;
const OUTCOMES = ["answered", "connect_failed", "failed", "cancelled"] as const;

/** Counts by error type, each made when it is first needed. */
class ErrorCounts {
  readonly #book: MetricBook;
  readonly #place: (type: ErrorType) => number;
  readonly #places: Partial<Record<ErrorType, number>> = {};

  constructor(book: MetricBook, place: (type: ErrorType) => number) {
    this.#book = book;
    this.#place = place;
  }

  add(type: ErrorType): void {
    this.#book.add(this.#places[type] ??= this.#place(type), 1);
  }
}

/** What is counted of one route. */
class RouteMetrics {
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly firstByte: Histogram;
  readonly #book: MetricBook;
  readonly #id: string;
  /** By status, method, version and scheme. */
  readonly #durations = new Map<number, Histogram>();

  constructor(book: MetricBook, id: string) {
    this.#book = book;
    this.#id = id;
    this.requestBytes = book.place("sluice_request_body_bytes_total", [id]);
    this.responseBytes = book.place("sluice_response_body_bytes_total", [id]);
    this.firstByte = book.histogram("sluice_time_to_first_byte_seconds", [id]);
  }

  duration(method: string, status: number, version: Version, scheme: string): Histogram {
    const code = STATUS_INDEX[status] ?? 0;
    const verb = METHOD_INDEX.get(method) ?? OTHER_METHOD;
    const spoken = VERSIONS.indexOf(version);
    const secure = scheme === "https" ? 1 : 0;
    const key = ((code * METHODS.length + verb) * VERSIONS.length + spoken) * 2 + secure;
    let found = this.#durations.get(key);
    if (found === undefined) {
      found = this.#book.histogram("http_server_request_duration_seconds", [
        this.#id,
        METHODS[verb]!,
        STATUS_LABELS[code]!,
        versionText(version),
        SCHEMES[secure]!,
      ]);
      this.#durations.set(key, found);
    }
    return found;
  }
}

/** What is counted of one upstream group; the peers that plugins name are one without a name. */
class UpstreamMetrics {
  readonly retries: ErrorCounts;
  readonly replays: number;
  readonly hedges: number;
  readonly attempts: Readonly<Record<Outcome["kind"], Histogram>>;

  constructor(book: MetricBook, name: string) {
    this.retries = new ErrorCounts(
      book,
      (type) => book.place("sluice_upstream_retries_total", [name, type]),
    );
    this.replays = book.place("sluice_upstream_replays_total", [name]);
    this.hedges = book.place("sluice_upstream_hedges_total", [name]);
    this.attempts = Object.fromEntries(OUTCOMES.map((outcome) => [
      outcome,
      book.histogram("http_client_request_duration_seconds", [name, outcome]),
    ])) as Record<Outcome["kind"], Histogram>;
  }
}

/** Counts what becomes of requests. One per service worker. */
export class RequestMetrics {
  readonly protocols: ProtocolMetrics;
  readonly #book: MetricBook;
  readonly #routes = new Map<string, RouteMetrics>();
  readonly #upstreams = new Map<string, UpstreamMetrics>();
  /** By side, then by type. */
  readonly #errors: ReadonlyMap<ProxyError["source"], ErrorCounts>;
  readonly #refused = new Map<string, ErrorCounts>();

  constructor(book: MetricBook, service: string) {
    this.#book = book;
    this.protocols = new ProtocolMetrics(book, service);
    this.#errors = new Map(SOURCES.map((source) => [
      source,
      new ErrorCounts(
        book,
        (type) => book.place("sluice_request_errors_total", [service, type, source]),
      ),
    ]));
  }

  /** A request is over. */
  finished(exchange: Exchange): void {
    const book = this.#book;
    const { downstream, error } = exchange;
    const { head } = downstream;
    const route = this.#route(exchange.routeId ?? "");
    route.duration(head.method, downstream.status, head.version, exchange.scheme)
      .observe(secondsOf(exchange));
    this.protocols.finished(exchange);
    if (downstream.bodyBytes > 0) book.add(route.requestBytes, downstream.bodyBytes);
    if (downstream.bytesSent > 0) book.add(route.responseBytes, downstream.bytesSent);
    if (exchange.firstByteAt > 0) {
      route.firstByte.observe((exchange.firstByteAt - downstream.startedAt) / 1000);
    }
    if (error !== null) this.#errors.get(error.source)!.add(error.type);
    if (exchange.replays > 0 || exchange.hedges > 0) {
      const upstream = this.#upstream(exchange.peer?.group ?? "");
      book.add(upstream.replays, exchange.replays);
      book.add(upstream.hedges, exchange.hedges);
    }
  }

  /** A request was too malformed to be one. */
  refused(listener: string, error: ProxyError): void {
    let counts = this.#refused.get(listener);
    if (counts === undefined) {
      counts = new ErrorCounts(
        this.#book,
        (type) => this.#book.place("sluice_refused_requests_total", [listener, type]),
      );
      this.#refused.set(listener, counts);
    }
    counts.add(error.type);
  }

  /** An attempt was given up, and another follows. */
  retried(exchange: Exchange, error: ProxyError): void {
    this.#upstream(exchange.peer?.group ?? "").retries.add(error.type);
  }

  /** An attempt has ended, or has come as far as its response head. */
  attempted(group: string, { kind, latency }: Outcome): void {
    this.#upstream(group).attempts[kind].observe(latency / 1000);
  }

  #route(id: string): RouteMetrics {
    let found = this.#routes.get(id);
    if (found === undefined) {
      found = new RouteMetrics(this.#book, id);
      this.#routes.set(id, found);
    }
    return found;
  }

  #upstream(name: string): UpstreamMetrics {
    let found = this.#upstreams.get(name);
    if (found === undefined) {
      found = new UpstreamMetrics(this.#book, name);
      this.#upstreams.set(name, found);
    }
    return found;
  }
}

/** How long a request took; one that opened a tunnel, until it was open. */
function secondsOf({ tunnel, elapsed, firstByteAt, downstream }: Exchange): number {
  return (tunnel === null ? elapsed : firstByteAt - downstream.startedAt) / 1000;
}
