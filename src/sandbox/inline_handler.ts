/**
 * Calls a plugin that runs in the service worker itself.
 *
 * The hook gets the live session, so its changes hold at once, also those before a throw.
 *
 * @module
 */
import { readClock, systemClock } from "../base/clock.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { HostSession, PhaseHandler } from "../plugin/handler.ts";
import { type PhaseName, phaseRow } from "../plugin/phases.ts";
import type { Match, Plugin } from "../plugin/plugin.ts";
import type { ConnectionView } from "../plugin/session.ts";
import type { EndpointList } from "../plugin/upstream.ts";
import type { CallMeter } from "./call_meter.ts";
import { CallContext, type LogSink, type ReadyUse } from "./context.ts";
import type { LoadOrder } from "./control.ts";
import { callError } from "./pending_call.ts";
import { isFailure, setUpUse } from "./plugin_use.ts";
import { PluginLoadError } from "./load_error.ts";
import { MAX_TEXT, type PhaseShape, shapeOf } from "./protocol.ts";
import { checkResult, normaliseResult } from "./results.ts";
import { describeError } from "./values.ts";
import type { PluginFacts } from "./wire.ts";

/** How long `tick` may take before its signal is aborted. */
const TICK_TIMEOUT = 10_000;

/** A plugin that was loaded here; replaced as a whole. */
export interface InlinePlugin {
  readonly plugin: Plugin;
  readonly uses: readonly ReadyUse[];
}

/**
 * Loads a plugin into this very realm and sets up its uses.
 *
 * @param generation Makes the file be read again when it is loaded anew. What it imports is not.
 * @param setEndpoints Takes the endpoints that it names.
 * @throws {PluginLoadError} If that fails.
 */
export async function loadInline(
  order: LoadOrder,
  generation: number,
  log: LogSink,
  setEndpoints: (list: EndpointList) => void,
): Promise<InlinePlugin> {
  let plugin: Plugin;
  try {
    const path = encodeURI(order.file).replaceAll("?", "%3F").replaceAll("#", "%23");
    const url = `file://${path}${generation > 1 ? `?generation=${generation}` : ""}`;
    plugin = (await import(url)).default as Plugin;
  } catch (error) {
    const message = `plugin "${order.name}": ${describeError(error, MAX_TEXT)}`;
    throw new PluginLoadError(message, { file: order.file, cause: error });
  }
  const uses: ReadyUse[] = [];
  for (let use = 0; use < order.configs.length; use++) {
    const { name, directory } = order;
    const config = order.configs[use];
    const ready = await setUpUse({ plugin, use, config, name, directory, log, setEndpoints });
    if (isFailure(ready)) {
      const issues = ready.issues.map(([path, text]) => path === "" ? text : `${path}: ${text}`);
      const message = `plugin "${name}": ${[ready.message, ...issues].join("; ")}`;
      throw new PluginLoadError(message, { file: order.file });
    }
    uses.push(ready);
  }
  return { plugin, uses };
}

/** What the handlers of one inline plugin share. */
export interface InlineState {
  readonly facts: PluginFacts;
  readonly loaded: InlinePlugin | null;
  /** Why it is not loaded. */
  readonly reason: string;
  readonly phases: ReadonlySet<PhaseName>;
  /** Calls that are under way. */
  waiting: number;
}

/** One use of an inline plugin. */
export class InlineHandler implements PhaseHandler {
  readonly #state: InlineState;
  readonly #use: number;
  readonly #timers: TimerWheel;
  readonly #meter: CallMeter | null;

  constructor(
    state: InlineState,
    use: number,
    timers: TimerWheel,
    meter: CallMeter | null = null,
  ) {
    this.#state = state;
    this.#use = use;
    this.#timers = timers;
    this.#meter = meter;
  }

  get name(): string {
    return this.#state.facts.name;
  }

  get phases(): ReadonlySet<PhaseName> {
    return this.#state.phases;
  }

  readonly inline = true;

  get failOpen(): boolean {
    return this.#state.facts.failOpen;
  }

  match(phase: PhaseName): Match | null {
    const { facts } = this.#state;
    return facts.matchHooks[phase] ?? facts.match;
  }

  call(
    phase: PhaseName,
    session: HostSession | ConnectionView | null,
    first?: unknown,
    second?: unknown,
  ): unknown | Promise<unknown> {
    const meter = this.#meter;
    if (meter === null) return this.#call(phase, session, first, second, 0);
    const { name } = this.#state.facts;
    const began = systemClock.now();
    try {
      const result = this.#call(phase, session, first, second, began);
      if (!(result instanceof Promise)) meter.called(name, phase, readClock() - began, null);
      return result;
    } catch (error) {
      meter.called(name, phase, readClock() - began, error);
      throw error;
    }
  }

  #call(
    phase: PhaseName,
    session: HostSession | ConnectionView | null,
    first: unknown,
    second: unknown,
    began: number,
  ): unknown | Promise<unknown> {
    const shape = shapeOf(phase);
    const { facts, loaded, reason } = this.#state;
    const use = loaded?.uses[this.#use];
    if (loaded === null || use === undefined) {
      throw callError("plugin_unavailable", facts.name, shape, reason);
    }
    if (this.#state.waiting >= facts.concurrency) {
      const text = `${facts.concurrency} calls wait already`;
      throw callError("plugin_unavailable", facts.name, shape, text);
    }
    const context = new CallContext(use);
    const hook = loaded.plugin[phase] as unknown as
      | ((...values: unknown[]) => unknown)
      | undefined;
    if (hook === undefined) {
      throw callError("plugin_error", facts.name, shape, "it has no such hook");
    }
    try {
      const raw = shape.session === "none"
        ? shape.extra === "value"
          ? hook.call(loaded.plugin, first, context)
          : hook.call(loaded.plugin, context)
        : hook.call(loaded.plugin, session, context, first, second);
      if (!isThenable(raw)) {
        const form = normaliseResult(shape.result, raw);
        if (!(form instanceof Promise)) return checkResult(shape.result, form);
        return this.#wait(form, shape, context, session, began);
      }
      const form = Promise.resolve(raw).then((value) => normaliseResult(shape.result, value));
      return this.#wait(form, shape, context, session, began);
    } catch (error) {
      throw callError("plugin_error", facts.name, shape, describeError(error, MAX_TEXT));
    }
  }

  #wait(
    work: Promise<unknown>,
    shape: PhaseShape,
    context: CallContext,
    session: HostSession | ConnectionView | null,
    began: number,
  ): Promise<unknown> {
    const { facts } = this.#state;
    const measure = (error: unknown) =>
      this.#meter?.called(facts.name, shape.phase, systemClock.now() - began, error);
    this.#state.waiting++;
    const signal = shape.session === "request" && !shape.over
      ? (session as HostSession).signal
      : null;
    return new Promise((resolve, reject) => {
      const fail = (type: "plugin_error" | "plugin_timeout", reason: string) => {
        const error = callError(type, facts.name, shape, reason);
        measure(error);
        reject(error);
      };
      const gone = () => context.abort(new DOMException("the request is over", "AbortError"));
      const end = () => {
        this.#state.waiting--;
        this.#timers.cancel(deadline);
        signal?.removeEventListener("abort", gone);
      };
      const deadline = new Deadline(() => {
        context.abort(new DOMException("the call missed its deadline", "TimeoutError"));
        end();
        fail("plugin_timeout", "it missed its deadline");
      });
      if (signal !== null && signal.aborted) gone();
      else signal?.addEventListener("abort", gone);
      this.#timers.arm(deadline, facts.timeout ?? phaseRow(shape.phase).timeout);
      let over = false;
      const settle = (finish: () => void) => {
        if (over) return;
        over = true;
        if (!deadline.armed) return;
        end();
        finish();
      };
      work.then(
        (form) =>
          settle(() => {
            try {
              resolve(checkResult(shape.result, form));
              measure(null);
            } catch (error) {
              fail("plugin_error", describeError(error, MAX_TEXT));
            }
          }),
        (error) => settle(() => fail("plugin_error", describeError(error, MAX_TEXT))),
      );
    });
  }
}

/** Calls the ticks of an inline plugin until `stop` is aborted. */
export function runTicks(state: InlineState, stop: AbortSignal): void {
  const { loaded, facts } = state;
  if (loaded === null || loaded.plugin.tick === undefined) return;
  for (const use of loaded.uses) {
    const again = (): void => {
      const timer = setTimeout(() => void tick(), facts.tickInterval);
      stop.addEventListener("abort", () => clearTimeout(timer), { once: true });
    };
    const tick = async (): Promise<void> => {
      const context = new CallContext(use);
      const timer = setTimeout(
        () => context.abort(new DOMException("tick took too long", "TimeoutError")),
        TICK_TIMEOUT,
      );
      try {
        await loaded.plugin.tick!(context);
      } catch (error) {
        use.log.error(`tick failed: ${describeError(error, MAX_TEXT)}`);
      }
      clearTimeout(timer);
      if (!stop.aborted) again();
    };
    again();
  }
}

function isThenable(value: unknown): boolean {
  return typeof value === "object" && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}
