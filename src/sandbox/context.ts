/**
 * What a hook gets beside the session.
 *
 * @module
 */
import type { Context, Log } from "../plugin/plugin.ts";
import type { Cloneable } from "../plugin/session.ts";
import type { EndpointList } from "../plugin/upstream.ts";
import { clip, copyValue, describeError } from "./values.ts";
import { MAX_TEXT, MAX_VALUE_BYTES } from "./protocol.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

/** Takes a line for the operational log. */
export type LogSink = (
  level: LogLevel,
  message: string,
  fields: Readonly<Record<string, Cloneable>> | undefined,
) => void;

/** Makes the log of a plugin. Lines are cut, and fields that cannot be copied are left out. */
export function makeLog(sink: LogSink): Log {
  const line =
    (level: LogLevel) => (message: string, fields?: Readonly<Record<string, Cloneable>>) =>
      sink(level, clip(String(message), MAX_TEXT), copyFields(fields));
  return Object.freeze({
    debug: line("debug"),
    info: line("info"),
    warn: line("warn"),
    error: line("error"),
  });
}

function copyFields(fields: unknown): Readonly<Record<string, Cloneable>> | undefined {
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) return undefined;
  try {
    return copyValue(fields, MAX_VALUE_BYTES, "fields") as Readonly<Record<string, Cloneable>>;
  } catch (error) {
    return { fields_error: describeError(error, 200) };
  }
}

/** One use of a plugin, set up. */
export interface ReadyUse {
  readonly config: unknown;
  readonly state: unknown;
  readonly log: Log;
  readonly setEndpoints: (list: EndpointList) => void;
}

/** The context of one call. Its signal is made when somebody asks for it. */
export class CallContext implements Context<unknown, unknown> {
  readonly #use: ReadyUse;
  #controller: AbortController | null = null;
  #reason: unknown = undefined;
  #aborted = false;

  constructor(use: ReadyUse) {
    this.#use = use;
  }

  get config(): unknown {
    return this.#use.config;
  }

  get state(): unknown {
    return this.#use.state;
  }

  get log(): Log {
    return this.#use.log;
  }

  get setEndpoints(): (list: EndpointList) => void {
    return this.#use.setEndpoints;
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  waitUntil(work: Promise<unknown>): void {
    const { log } = this.#use;
    Promise.resolve(work).catch((error) => {
      log.error(`Work handed to waitUntil failed: ${describeError(error, MAX_TEXT)}`);
    });
  }

  /** Aborts the signal, also one that is asked for later. For the caller of the hook. */
  abort(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}
