/**
 * Endpoints that somebody else finds, such as a plugin: pushed, or given out by an async iterable.
 *
 * @module
 */
import { ProxyError } from "../../base/error.ts";
import { Deadline } from "../../base/timer_wheel.ts";
import { reason } from "../../transport/io_error.ts";
import type { Discovery, DiscoveryEvents, DiscoveryState, DiscoveryTools } from "./discovery.ts";
import { parseEndpoints } from "./endpoint_list.ts";
import { KeptSet } from "./kept_set.ts";

/** Settings. Plain data. */
export interface PluginConfig {
  readonly type: "plugin";
  /** Name of the plugin. */
  readonly plugin: string;
  /** Whether a list without entries is believed. */
  readonly allowEmpty: boolean;
  /** Milliseconds until it is begun again after its first failure; doubled with each further one. */
  readonly backoff: number;
  readonly maxBackoff: number;
}

/** Settings where nothing else is said; `plugin` has no default. */
export const PLUGIN: Omit<PluginConfig, "plugin"> = {
  type: "plugin",
  allowEmpty: false,
  backoff: 1_000,
  maxBackoff: 60_000,
};

/** What a source calls. Late calls, after the signal has aborted, are ignored. */
export interface PluginPort {
  /** All endpoints, written as in a file. Only the last of several in quick succession counts. */
  push(list: unknown): void;
  /** Something went wrong; it is begun again after a while. */
  fail(error: unknown): void;
  /** Aborts when nobody listens any more. */
  readonly signal: AbortSignal;
}

/**
 * Begins to find endpoints: pushes lists, gives them out, or both. When an iterable ends, the last set stays and
 * nothing more is expected until `refresh`.
 */
export type PluginSource = (port: PluginPort) => AsyncIterable<unknown> | void | Promise<void>;

/** Least time between two lists that are looked at, in milliseconds. */
const PACE = 100;

/** Takes endpoints from a {@linkcode PluginSource}. */
export class PluginDiscovery implements Discovery {
  readonly #config: PluginConfig;
  readonly #source: PluginSource;
  readonly #tools: DiscoveryTools;
  readonly #context: string;
  readonly #kept: KeptSet;
  readonly #pace: Deadline = new Deadline(() => this.#look());
  readonly #retry: Deadline = new Deadline(() => this.#begin());
  #run: AbortController | null = null;
  #latest: { readonly list: unknown } | null = null;
  #started = false;
  #failures = 0;

  /** @throws {ProxyError} `config_error` if the settings make no sense. */
  constructor(config: PluginConfig, source: PluginSource, tools: DiscoveryTools) {
    this.#context = `Plugin ${JSON.stringify(config.plugin)}`;
    if (!(config.backoff > 0 && config.maxBackoff >= config.backoff)) {
      throw new ProxyError(
        "config_error",
        `${this.#context}: \`backoff\` must be more than 0, and \`maxBackoff\` no less than it`,
        { source: "internal" },
      );
    }
    this.#config = config;
    this.#source = source;
    this.#tools = tools;
    const { allowEmpty } = config;
    this.#kept = new KeptSet({ context: this.#context, allowEmpty, date: tools.date });
  }

  start(events: DiscoveryEvents): void {
    this.#kept.open(events);
    this.#started = true;
    this.#begin();
  }

  refresh(): void {
    if (this.#started) this.#begin();
  }

  stop(): void {
    this.#started = false;
    this.#end();
    this.#tools.wheel.cancel(this.#retry);
  }

  state(): DiscoveryState {
    return this.#kept.state();
  }

  #begin(): void {
    this.#end();
    this.#tools.wheel.cancel(this.#retry);
    const run = new AbortController();
    this.#run = run;
    const port: PluginPort = {
      signal: run.signal,
      push: (list) => {
        if (!run.signal.aborted) this.#take(list);
      },
      fail: (error) => {
        if (!run.signal.aborted) this.#fail(error);
      },
    };
    // What it throws at once and what it rejects with are the same to us.
    (async () => {
      const lists = await this.#source(port);
      if (lists === undefined) return;
      for await (const list of lists) {
        if (run.signal.aborted) return;
        port.push(list);
      }
    })().catch(port.fail);
  }

  #end(): void {
    this.#run?.abort();
    this.#run = null;
    this.#latest = null;
    this.#tools.wheel.cancel(this.#pace);
  }

  #take(list: unknown): void {
    this.#latest = { list };
    // A source in a hurry must not keep the others from their turn.
    if (!this.#pace.armed) this.#look();
  }

  #look(): void {
    const latest = this.#latest;
    if (latest === null) return;
    this.#latest = null;
    this.#tools.wheel.arm(this.#pace, PACE);
    try {
      const endpoints = parseEndpoints(latest.list, {
        context: this.#context,
        errorType: "plugin_error",
        unix: false,
      });
      if (this.#kept.accept(endpoints)) this.#failures = 0;
    } catch (error) {
      this.#kept.fail(ProxyError.wrap(error, "plugin_error", this.#context, "internal"));
    }
  }

  #fail(error: unknown): void {
    this.#end();
    const { backoff, maxBackoff } = this.#config;
    const delay = Math.min(maxBackoff, backoff * 2 ** Math.min(30, this.#failures++));
    this.#tools.wheel.arm(this.#retry, delay);
    const told = new ProxyError("plugin_error", `${this.#context}: ${reason(error)}`, {
      source: "internal",
      cause: error,
    });
    this.#kept.fail(told);
  }
}
