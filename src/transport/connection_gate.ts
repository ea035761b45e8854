/**
 * Counts the connections of a listener and keeps them under its limit.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { reason } from "./io_error.ts";
import type { Socket } from "./socket.ts";

/** The part of a listener's options that concerns what it accepts. */
export interface GateOptions {
  readonly name: string;
  readonly maxConnections?: number;
  onSocket(socket: Socket): void;
  onError(error: ProxyError): void;
  /** Called for each connection that was closed before it was handed over: it said the wrong thing, or too little. */
  onRefused?(error: ProxyError): void;
}

/** Counts in and out. */
export class ConnectionGate {
  readonly #options: GateOptions;
  readonly #max: number;
  #failing = false;
  connectionCount = 0;
  accepted = 0;
  rejected = 0;
  /** To be given to every socket that is admitted. */
  readonly onReleased = (): void => {
    this.connectionCount--;
    this.onFree?.();
  };
  /** Called when a connection was released. */
  onFree: (() => void) | null = null;

  constructor(options: GateOptions) {
    this.#options = options;
    this.#max = options.maxConnections ?? 0;
  }

  /** Whether no further connection may come in. */
  get full(): boolean {
    return this.#max > 0 && this.connectionCount >= this.#max;
  }

  /** Whether one more connection may come in; if not, it counts as rejected. */
  enter(): boolean {
    this.#failing = false;
    if (this.full) {
      this.rejected++;
      return false;
    }
    this.accepted++;
    this.connectionCount++;
    return true;
  }

  /** Hands an admitted connection over. */
  pass(socket: Socket): void {
    try {
      this.#options.onSocket(socket);
    } catch (error) {
      socket.destroy();
      this.#tell("internal_error", "a connection could not be served", error);
    }
  }

  /** Tells that an admitted connection will not be handed over. */
  refused(error: ProxyError): void {
    try {
      this.#options.onRefused?.(error);
    } catch {
      // As below: nobody can be told that telling fails.
    }
  }

  /** Tells that accepting failed, unless that is known already. */
  acceptFailed(error: unknown): void {
    if (this.#failing) return;
    this.#failing = true;
    this.#tell("socket_error", "cannot accept connections", error);
  }

  #tell(type: "internal_error" | "socket_error", what: string, cause: unknown): void {
    const error = new ProxyError(
      type,
      `Listener "${this.#options.name}": ${what}: ${reason(cause)}`,
      { source: "internal", cause },
    );
    try {
      this.#options.onError(error);
    } catch {
      // Whoever should hear of it fails too. Accepting goes on: one connection is lost, not the listener.
    }
  }
}
