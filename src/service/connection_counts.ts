/**
 * How many connections clients have, by listener and by what they speak.
 *
 * @module
 */
import type { ErrorType } from "../base/error.ts";
import { TunnelGate } from "../proxy/tunnel_gate.ts";
import type { SampleSink } from "../observe/metrics/book.ts";

/** Why a connection was closed before its first request. */
type RefusalReason =
  | "plugin"
  | "proxy_header"
  | "tls_failure"
  | "tls_timeout"
  | "client_certificate";

/** By the error that ended it. Any other is a handshake that failed for a reason of our own. */
const REASONS: Partial<Record<ErrorType, RefusalReason>> = {
  denied: "plugin",
  invalid_request: "proxy_header",
  header_timeout: "proxy_header",
  tls_handshake_failure: "tls_failure",
  tls_handshake_timeout: "tls_timeout",
  invalid_cert: "client_certificate",
};

/** Connections that speak one protocol. */
export interface ProtocolCounts {
  /** Those that are open. */
  open: number;
  /** Those there have been. */
  opened: number;
}

/** Connections of one listener. */
export class ListenerCounts {
  /** Connections that were closed before their first request, by why. */
  readonly refused: ReadonlyMap<RefusalReason, { count: number }> = new Map(
    [...new Set(Object.values(REASONS))].map((reason) => [reason, { count: 0 }]),
  );
  /** Places for its tunnels. */
  readonly tunnels: TunnelGate = new TunnelGate();
  /** Of the sockets that it had before the one that it has. */
  readonly #before = { accepted: 0, rejected: 0 };
  #accepted = 0;
  #rejected = 0;
  readonly #protocols = new Map<string, ProtocolCounts>();

  /** Counts a connection that was closed before its first request. */
  refuse(error: ErrorType): void {
    this.refused.get(REASONS[error] ?? "tls_failure")!.count++;
  }

  /** Connections that were accepted, and those that were closed at once because there were too many. */
  get accepted(): { readonly accepted: number; readonly rejected: number } {
    const { accepted, rejected } = this.#before;
    return { accepted: accepted + this.#accepted, rejected: rejected + this.#rejected };
  }

  /** What the socket that it has says. */
  accept(accepted: number, rejected: number): void {
    this.#accepted = accepted;
    this.#rejected = rejected;
  }

  /** The socket that it had is closed. */
  closed(accepted: number, rejected: number): void {
    this.#before.accepted += accepted;
    this.#before.rejected += rejected;
    this.accept(0, 0);
  }

  /** The connections that speak `name`: `h1`, `h2`. */
  protocol(name: string): ProtocolCounts {
    let counts = this.#protocols.get(name);
    if (counts === undefined) {
      counts = { open: 0, opened: 0 };
      this.#protocols.set(name, counts);
    }
    return counts;
  }

  /** By protocol. */
  get protocols(): Iterable<[string, ProtocolCounts]> {
    return this.#protocols;
  }
}

/** Connections of all listeners of a service worker. */
export class ConnectionCounts {
  readonly #listeners = new Map<string, ListenerCounts>();

  of(listener: string): ListenerCounts {
    let counts = this.#listeners.get(listener);
    if (counts === undefined) {
      counts = new ListenerCounts();
      this.#listeners.set(listener, counts);
    }
    return counts;
  }

  /** Tells them all. */
  collect(sink: SampleSink): void {
    for (const [listener, counts] of this.#listeners) {
      const { accepted, rejected } = counts.accepted;
      sink.add("sluice_connections_accepted_total", [listener], accepted);
      sink.add("sluice_connections_rejected_total", [listener, "max_connections"], rejected);
      for (const [reason, { count }] of counts.refused) {
        sink.add("sluice_connections_rejected_total", [listener, reason], count);
      }
      sink.add("sluice_tunnels_rejected_total", [listener], counts.tunnels.refused);
      for (const [protocol, { open, opened }] of counts.protocols) {
        sink.add("sluice_connections", [listener, protocol], open);
        sink.add("sluice_connections_opened_total", [listener, protocol], opened);
      }
    }
  }
}
