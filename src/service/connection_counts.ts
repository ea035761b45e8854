/**
 * How many connections clients have, by listener and by what they speak.
 *
 * @module
 */
import type { SampleSink } from "../observe/metrics/book.ts";

/** Connections that speak one protocol. */
export interface ProtocolCounts {
  /** Those that are open. */
  open: number;
  /** Those there have been. */
  opened: number;
}

/** Connections of one listener. */
export class ListenerCounts {
  /** Connections that a plugin has turned away. */
  denied = 0;
  readonly #protocols = new Map<string, ProtocolCounts>();

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
      sink.add("sluice_connections_rejected_total", [listener, "plugin"], counts.denied);
      for (const [protocol, { open, opened }] of counts.protocols) {
        sink.add("sluice_connections", [listener, protocol], open);
        sink.add("sluice_connections_opened_total", [listener, protocol], opened);
      }
    }
  }
}
