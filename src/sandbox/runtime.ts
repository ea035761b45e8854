/**
 * Runs a plugin inside its sandbox: answers calls, and what the main thread asks.
 *
 * @module
 */
import type { Context, Plugin } from "../plugin/plugin.ts";
import type { EndpointList, HealthChange } from "../plugin/upstream.ts";
import { ActiveCall, type CallTable } from "./active_call.ts";
import type { Channel } from "./channel.ts";
import { CallContext, type LogLevel, type ReadyUse } from "./context.ts";
import type { HostMessage, LoadOrder, SandboxMessage } from "./control.ts";
import { describePlugin } from "./describe.ts";
import { copyEndpoints, ENDPOINT_PACE } from "./named_endpoints.ts";
import { Paced } from "./paced.ts";
import { isFailure, setUpUse, stackOf } from "./plugin_use.ts";
import { BODY, CALL, CANCEL, MAX_TEXT, PING, PONG, SHAPES } from "./protocol.ts";
import { normaliseResult } from "./results.ts";
import { describeError } from "./values.ts";

/** Log lines of one second; further ones are counted and left out. */
const MAX_LINES = 500;
/** How long one `tick` may take before its signal is aborted. */
const TICK_TIMEOUT = 10_000;
/** Calls of `upstreamHealth` that may wait at once; further changes are not told. */
const MAX_TOLD = 1000;

/** What the runtime needs of the place it runs in. Taken before any code of the plugin runs. */
export interface RuntimePlace {
  /** Sends a message to the main thread. */
  readonly send: (message: SandboxMessage) => void;
  /** Makes a channel of what came with `attach`. */
  readonly channel: (port: MessagePort, memory: SharedArrayBuffer | null) => Channel;
  /** Bytes outside the heap that this isolate holds. */
  readonly externalMemory: () => number;
}

/** The plugin side of a sandbox. */
export class Runtime {
  readonly #place: RuntimePlace;
  readonly #setTimeout = globalThis.setTimeout;
  readonly #clearTimeout = globalThis.clearTimeout;
  #plugin: Plugin = {};
  #uses: ReadyUse[] = [];
  readonly #endpoints: Paced<EndpointList>;
  #told = 0;
  #lines = 0;
  #dropped = 0;
  #second = 0;
  #ticking = true;

  constructor(place: RuntimePlace) {
    this.#place = place;
    this.#endpoints = new Paced(ENDPOINT_PACE, (list) => place.send(["endpoints", list]));
    this.#endpoints.open();
  }

  /** Handles what the main thread sends. */
  handle(message: HostMessage): void {
    switch (message[0]) {
      case "describe":
        void this.#describe(message[1]);
        break;
      case "load":
        void this.#load(message[1]);
        break;
      case "attach":
        this.serve(this.#place.channel(message[1], message[2]));
        break;
      case "tick":
        this.#startTicks(message[1]);
        break;
      case "health":
        for (const use of this.#uses) void this.#tellHealth(use, message[1], message[2]);
        break;
      case "ping":
        this.#place.send(["pong", message[1], this.#place.externalMemory()]);
        break;
      case "dispose":
        void this.#dispose();
        break;
    }
  }

  /** Answers the calls of one service worker. */
  serve(channel: Channel): void {
    const calls: CallTable = new Map();
    channel.onMessage = (message) => this.#receive(channel, calls, message as unknown[]);
    channel.onClose = () => {
      for (const call of calls.values()) call.cancel("the caller is gone");
      calls.clear();
    };
  }

  /** Passes on a line for the log. */
  readonly log = (
    level: LogLevel,
    message: string,
    fields?: Parameters<Context<unknown, unknown>["log"]["info"]>[1],
  ): void => {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#lines = 0;
      if (this.#dropped > 0) {
        this.#place.send(["log", "warn", `${this.#dropped} log lines were left out`, undefined]);
        this.#dropped = 0;
      }
    }
    if (++this.#lines > MAX_LINES) this.#dropped++;
    else this.#place.send(["log", level, message, fields]);
  };

  readonly #setEndpoints = (list: EndpointList): void => this.#endpoints.put(copyEndpoints(list));

  async #describe(file: string): Promise<void> {
    const module = await this.#import(file);
    if (module !== null) this.#place.send(["described", describePlugin(module["default"])]);
  }

  async #load(order: LoadOrder): Promise<void> {
    const module = await this.#import(order.file);
    if (module === null) return;
    const plugin = module["default"] as Plugin;
    const uses: ReadyUse[] = [];
    for (let use = 0; use < order.configs.length; use++) {
      const ready = await setUpUse({
        plugin,
        use,
        config: order.configs[use],
        name: order.name,
        directory: order.directory,
        log: this.log,
        setEndpoints: this.#setEndpoints,
      });
      if (isFailure(ready)) return this.#place.send(["setup_failed", ready]);
      uses.push(ready);
    }
    this.#plugin = plugin;
    this.#uses = uses;
    this.#place.send(["loaded"]);
  }

  async #import(file: string): Promise<Record<string, unknown> | null> {
    try {
      // Computed, so that the whole graph is loaded with the rights of the sandbox and not with ours.
      const url = new URL(
        `file://${encodeURI(file).replaceAll("?", "%3F").replaceAll("#", "%23")}`,
      );
      return await import(url.href);
    } catch (error) {
      this.#place.send(["failed", describeError(error, MAX_TEXT), stackOf(error)]);
      return null;
    }
  }

  #receive(channel: Channel, calls: CallTable, message: unknown[]): void {
    switch (message[0]) {
      case CALL:
        return this.#call(channel, calls, message);
      case CANCEL:
        calls.get(message[1] as number)?.cancel("the call was cancelled");
        return;
      case PING:
        return channel.post([PONG, message[1]]);
      case BODY:
        calls.get(message[1] as number)?.takeBody(
          message[2] as Uint8Array | null,
          message[3] as string,
        );
    }
  }

  #call(channel: Channel, calls: CallTable, message: unknown[]): void {
    const use = this.#uses[message[2] as number];
    const shape = SHAPES[message[3] as number]!;
    const call = new ActiveCall(channel, calls, message[1] as number, shape);
    const hook = this.#plugin[shape.phase] as ((...values: unknown[]) => unknown) | undefined;
    if (use === undefined || hook === undefined) {
      return call.fail(new Error("the plugin has no such hook"));
    }
    const context = new CallContext(use);
    call.run(this.#plugin, hook, context, message);
  }

  #startTicks(interval: number): void {
    const { tick } = this.#plugin;
    if (tick === undefined) return;
    for (const use of this.#uses) {
      const next = (): void => {
        this.#setTimeout.call(globalThis, () => void this.#tick(use, next), interval);
      };
      next();
    }
  }

  async #tick(use: ReadyUse, next: () => void): Promise<void> {
    if (!this.#ticking) return;
    const context = new CallContext(use);
    const timer = this.#setTimeout.call(globalThis, () => {
      context.abort(new DOMException("tick took too long", "TimeoutError"));
    }, TICK_TIMEOUT);
    try {
      await this.#plugin.tick!(context);
    } catch (error) {
      this.log("error", `tick failed: ${describeError(error, MAX_TEXT)}`);
    }
    this.#clearTimeout.call(globalThis, timer);
    if (this.#ticking) next();
  }

  async #tellHealth(use: ReadyUse, change: HealthChange, timeout: number): Promise<void> {
    const { upstreamHealth } = this.#plugin;
    if (upstreamHealth === undefined) return;
    if (this.#told >= MAX_TOLD) {
      this.log("error", `upstreamHealth was not called: ${MAX_TOLD} calls wait already`);
      return;
    }
    this.#told++;
    const context = new CallContext(use);
    let late = false;
    const timer = this.#setTimeout.call(globalThis, () => {
      late = true;
      this.#told--;
      context.abort(new DOMException("the call missed its deadline", "TimeoutError"));
      this.log("error", "upstreamHealth failed: it missed its deadline");
    }, timeout);
    try {
      // Each use gets its own, which it may keep and change.
      normaliseResult("none", await upstreamHealth.call(this.#plugin, { ...change }, context));
    } catch (error) {
      if (!late) this.log("error", `upstreamHealth failed: ${describeError(error, MAX_TEXT)}`);
    }
    if (late) return;
    this.#told--;
    this.#clearTimeout.call(globalThis, timer);
  }

  async #dispose(): Promise<void> {
    this.#ticking = false;
    for (const use of this.#uses) {
      try {
        await this.#plugin.dispose?.(use.state);
      } catch (error) {
        this.log("error", `dispose failed: ${describeError(error, MAX_TEXT)}`);
      }
    }
    this.#place.send(["disposed"]);
  }
}
