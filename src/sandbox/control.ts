/**
 * What crosses between the main thread and a sandbox: loading, watching and ending it, but no calls.
 *
 * @module
 */
import type { Cloneable } from "../plugin/session.ts";
import type { EndpointList, HealthChange } from "../plugin/upstream.ts";
import type { LogLevel } from "./context.ts";
import type { SetupFailure } from "./plugin_use.ts";

/** What a sandbox is told to load. */
export interface LoadOrder {
  /** Absolute path of the module. */
  readonly file: string;
  /** The folder of the plugin. */
  readonly directory: string;
  /** Name under which it runs. */
  readonly name: string;
  /** The configuration of each use, as written. */
  readonly configs: readonly unknown[];
}

/** From the main thread. */
export type HostMessage =
  | readonly ["describe", string]
  | readonly ["load", LoadOrder]
  /** With the memory of a `RingChannel`, if threads share some. */
  | readonly ["attach", MessagePort, SharedArrayBuffer | null]
  | readonly ["tick", number]
  /** With the deadline in milliseconds. */
  | readonly ["health", HealthChange, number]
  | readonly ["ping", number]
  | readonly ["dispose"];

/** From the sandbox. To be checked: plugins may forge it. */
export type SandboxMessage =
  | readonly ["ready"]
  | readonly ["described", unknown]
  | readonly ["loaded"]
  | readonly ["failed", string, string]
  | readonly ["setup_failed", SetupFailure]
  | readonly ["refused", string, string]
  | readonly ["pong", number, number]
  | readonly ["disposed"]
  | readonly ["endpoints", EndpointList]
  | readonly ["log", LogLevel, string, Readonly<Record<string, Cloneable>> | undefined];

/** What a sandbox that is a process is told on its standard input, on one line. */
export interface ProcessOrder {
  /** Where it shall listen. */
  readonly socket: string;
  /** What a connection must say first. */
  readonly token: string;
  readonly root: string;
}

/** What a connection to such a process says first: `[HELLO, token, role]`. */
export const HELLO = "hello";

/** What its standard output says when it listens. */
export const LISTENING = "sluice-sandbox-listening";
/** How a line of its standard output begins when an import was refused; JSON follows. */
export const REFUSED = "sluice-sandbox-refused ";
