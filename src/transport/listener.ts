/**
 * What listening means, whatever accepts.
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import type { Address } from "./address.ts";
import type { Socket } from "./socket.ts";

/** How to listen. */
export interface ListenOptions {
  /** For messages. */
  readonly name: string;
  /** Port `0` takes a free one; {@linkcode Listener.address} tells it, for the other workers to listen on too. */
  readonly address: Address;
  /** `handle` serves IP addresses only and falls back to `deno` elsewhere, or where it is missing. Default `deno`. */
  readonly engine?: "deno" | "handle";
  /** Connections that wait in the kernel to be accepted, on TCP. Default 511. */
  readonly backlog?: number;
  /** Mode of a unix socket's file. Default `0o660`. */
  readonly unixMode?: number;
  /** Connections at once; more are closed as soon as they are accepted. Default `0`: no limit. */
  readonly maxConnections?: number;
  /** Called for each connection, which is the callee's from then on. */
  onSocket(socket: Socket): void;
  /** Called when accepting fails, once until it succeeds again, and with what `onSocket` throws. */
  onError(error: ProxyError): void;
}

/** Something that listens. */
export interface Listener {
  readonly name: string;
  /** Where it listens, with the actual port. */
  readonly address: Address;
  readonly engine: "deno" | "handle";
  /** Connections accepted and not yet released. */
  readonly connectionCount: number;
  /** Connections accepted so far, those closed at once not counted. */
  readonly accepted: number;
  /** Connections closed at once because of `maxConnections`. */
  readonly rejected: number;
  /** Stops accepting. Connections go on. */
  close(): void;
}
