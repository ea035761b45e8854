/**
 * Every message between the server and a service worker, both directions.
 *
 * @module
 */
import type { Config } from "../config/types.ts";
import type { PluginsInit } from "../sandbox/wire.ts";

/** What a service worker is started with. */
export interface WorkerSetup {
  /** Name of the service in `config.services`. */
  readonly service: string;
  /** Position among the workers of its service, from 0. */
  readonly index: number;
  readonly config: Config;
  /** How to reach the plugins; its `wire` is transferred with the message. */
  readonly plugins: PluginsInit;
}

/** Server to service worker. */
export type ServerMessage =
  | { readonly kind: "start"; readonly setup: WorkerSetup }
  /** Stop accepting, finish what runs, say `drained`; what is left after `grace` milliseconds is cut. */
  | { readonly kind: "drain"; readonly grace: number }
  /** The log files were moved away: open new ones. */
  | { readonly kind: "reopen_logs" };

/** Service worker to server. */
export type WorkerMessage =
  /** The program is loaded and waits for `start`. */
  | { readonly kind: "loaded" }
  /** Listening. */
  | { readonly kind: "ready" }
  /** Sent each second. */
  | { readonly kind: "alive" }
  /** Cannot start; restarting would not help. */
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "drained"; readonly cut: number };
