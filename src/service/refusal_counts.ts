/**
 * Counts connections that were refused, and says so now and then instead of each time.
 *
 * @module
 */
import type { ErrorType } from "../base/error.ts";

/** Milliseconds between two lines. */
const INTERVAL = 60_000;

const NAMES: Partial<Record<ErrorType, string>> = {
  tls_handshake_failure: "failed TLS handshakes",
  tls_handshake_timeout: "TLS handshakes that took too long",
  invalid_cert: "client certificates that were not accepted",
  invalid_request: "PROXY headers that were missing or wrong",
  header_timeout: "PROXY headers that took too long",
  denied: "connections denied by plugins",
};

/** Refusals of one listener by their kind. */
export class RefusalCounts {
  readonly #counts = new Map<ErrorType, number>();
  #saidAt = -Infinity;

  /** Counts one. Returns the line to write, if it is time for one. */
  add(type: ErrorType, now: number = performance.now()): string | null {
    this.#counts.set(type, (this.#counts.get(type) ?? 0) + 1);
    if (now - this.#saidAt < INTERVAL) return null;
    this.#saidAt = now;
    const parts = [...this.#counts].map(([kind, count]) => `${count} ${NAMES[kind] ?? kind}`);
    this.#counts.clear();
    return `refused connections since the last such line: ${parts.join(", ")}`;
  }
}
