/**
 * Counts what requests turn out to be besides requests: tunnels and gRPC calls.
 *
 * @module
 */
import type { MetricBook } from "../observe/metrics/book.ts";
import type { Exchange } from "../proxy/exchange.ts";
import type { TunnelRecord } from "../proxy/tunnel_record.ts";

/** Protocols with a label of their own; clients make others up. */
const PROTOCOLS: readonly string[] = ["websocket", "connect"];

/** The largest code that gRPC has. */
const MOST_CODE = 16;

/** Counts tunnels and calls. One per service worker. */
export class ProtocolMetrics {
  readonly #book: MetricBook;
  readonly #open: number;
  /** Places by route and code. */
  readonly #calls = new Map<string, Map<number, number>>();
  #tunnels = 0;

  constructor(book: MetricBook, service: string) {
    this.#book = book;
    this.#open = book.place("sluice_tunnels", [service]);
  }

  /** A response has opened a tunnel. */
  tunnelOpened(): void {
    this.#book.set(this.#open, ++this.#tunnels);
  }

  /** A request is over. */
  finished({ tunnel, grpc, elapsed, firstByteAt, downstream, routeId }: Exchange): void {
    const book = this.#book;
    const route = routeId ?? "";
    if (tunnel !== null) {
      book.set(this.#open, --this.#tunnels);
      const opened = firstByteAt - downstream.startedAt;
      this.#count(tunnel, route, (elapsed - opened) / 1000);
    }
    if (grpc !== null) book.add(this.#callsOf(route, grpc.status), 1);
  }

  #callsOf(route: string, status: number): number {
    let places = this.#calls.get(route);
    if (places === undefined) {
      places = new Map();
      this.#calls.set(route, places);
    }
    const code = Math.min(status, MOST_CODE + 1);
    let place = places.get(code);
    if (place === undefined) {
      const label = code < 0 ? "" : code > MOST_CODE ? "other" : String(code);
      place = this.#book.place("sluice_grpc_calls_total", [route, label]);
      places.set(code, place);
    }
    return place;
  }

  #count({ protocol, end, received, sent }: TunnelRecord, route: string, seconds: number): void {
    const book = this.#book;
    const known = PROTOCOLS.includes(protocol) ? protocol : "other";
    book.histogram("sluice_tunnel_duration_seconds", [route, known, end ?? ""]).observe(seconds);
    book.add(book.place("sluice_tunnel_bytes_total", [route, "received"]), received);
    book.add(book.place("sluice_tunnel_bytes_total", [route, "sent"]), sent);
  }
}
