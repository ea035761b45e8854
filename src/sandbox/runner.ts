/**
 * Keeps one plugin running: starts it, replaces it, and starts it again when it dies.
 *
 * @module
 */
import type { LogLevel } from "./context.ts";
import { Generation, type WatchOptions } from "./generation.ts";
import { checkPaths, inspectPlugin } from "./loader.ts";
import { NO_RIGHTS, type Rights, sameRights, settleRights } from "./permissions.ts";
import { loadOrder } from "./probe.ts";
import { type RestartOptions, RestartPolicy } from "./restart_policy.ts";
import type { SandboxExit } from "./sandbox.ts";
import { DEFAULT_HEAP, type PluginManifest, type PluginSpec } from "./spec.ts";
import type { Cloneable } from "../plugin/session.ts";
import type { EndpointList } from "../plugin/upstream.ts";
import type { PluginFacts } from "./wire.ts";

/** Something that happened to a plugin, for logs and metrics. */
export type PluginEvent =
  | { readonly kind: "started"; readonly plugin: string; readonly milliseconds: number }
  | {
    readonly kind: "crashed";
    readonly plugin: string;
    readonly cause: SandboxExit["cause"] | "load";
    readonly message: string;
    /** Milliseconds until it is started again. */
    readonly restartIn: number;
  }
  | { readonly kind: "restarted"; readonly plugin: string; readonly milliseconds: number }
  | { readonly kind: "breaker_open"; readonly plugin: string; readonly milliseconds: number }
  | { readonly kind: "replaced"; readonly plugin: string; readonly milliseconds: number }
  /** It names the endpoints of the upstreams that it is the discovery of. Plain data, its entries unchecked. */
  | { readonly kind: "endpoints"; readonly plugin: string; readonly list: EndpointList }
  | {
    readonly kind: "log";
    readonly plugin: string;
    readonly level: LogLevel;
    readonly message: string;
    readonly fields: Readonly<Record<string, Cloneable>> | undefined;
  };

/** What a {@linkcode Runner} tells its host. */
export interface RunnerListener {
  event(event: PluginEvent): void;
  /** New calls go to this generation; `null` for a plugin that runs inline. */
  up(generation: Generation | null): void;
  down(generation: Generation, reason: string): void;
  /** Whether service workers still wait for answers of it. */
  draining(generation: Generation): boolean;
}

/** What a {@linkcode Runner} takes. */
export interface RunnerOptions {
  readonly listener: RunnerListener;
  readonly restart: RestartOptions;
  readonly watch: WatchOptions;
  /** How long a sandbox may take to answer a ping once a call has missed its deadline. */
  readonly lateTimeout: number;
  /** How long the calls of a replaced generation may take. */
  readonly drainTimeout: number;
  /** Paths of sockets; two, because a replacement runs beside what it replaces. */
  readonly sockets: readonly [string, string];
}

/** A plugin that was loaded, and what it may do. */
export interface LoadedPlugin {
  readonly spec: PluginSpec;
  readonly manifest: PluginManifest;
  readonly rights: Rights;
}

/** One plugin. */
export class Runner {
  readonly #options: RunnerOptions;
  readonly #policy: RestartPolicy;
  #spec: PluginSpec;
  #loaded: LoadedPlugin | null = null;
  #current: Generation | null = null;
  #old: Generation | null = null;
  #retiring: Promise<void> | null = null;
  #drained: () => void = () => {};
  #number = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  #work: Promise<unknown> = Promise.resolve();

  constructor(spec: PluginSpec, options: RunnerOptions) {
    this.#spec = spec;
    this.#options = options;
    this.#policy = new RestartPolicy(options.restart);
  }

  get current(): Generation | null {
    return this.#current;
  }

  /** What it runs as, once it was started. */
  get loaded(): LoadedPlugin | null {
    return this.#loaded;
  }

  /** How many generations there have been. */
  get number(): number {
    return this.#number;
  }

  get facts(): PluginFacts {
    const { manifest } = this.#loaded!;
    const spec = this.#spec;
    return {
      name: spec.name,
      isolation: spec.isolation,
      phases: manifest.phases,
      match: manifest.match,
      matchHooks: manifest.matchHooks,
      failOpen: (spec.onError ?? manifest.onError) === "fail_open",
      timeout: spec.timeout ?? manifest.limits.timeout,
      concurrency: manifest.limits.concurrency,
      uses: spec.uses.length,
      inline: spec.isolation === "inline" ? loadOrder(spec) : null,
      tickInterval: manifest.tickInterval,
      lateTimeout: this.#options.lateTimeout,
    };
  }

  /**
   * Starts the plugin.
   *
   * @throws {PluginLoadError} If it cannot be loaded.
   */
  async start(): Promise<void> {
    const began = performance.now();
    await this.#renew(this.#spec);
    this.#event("started", began);
  }

  /**
   * Starts the plugin anew from what is on disk now, and retires the sandbox that ran till now. If that fails,
   * all stays as it is.
   *
   * @throws {PluginLoadError} If it cannot be loaded.
   */
  replace(spec?: PluginSpec): Promise<void> {
    const work = this.#work.then(async () => {
      const began = performance.now();
      await this.#renew(spec ?? this.#spec);
      this.#policy.reset();
      this.#event("replaced", began);
    });
    this.#work = work.catch(() => {});
    return work;
  }

  /** A service worker has no more calls with the generation that was replaced. */
  settled(): void {
    if (this.#old !== null && !this.#options.listener.draining(this.#old)) this.#drained();
  }

  /** Ends the plugin. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#drained();
    await this.#work;
    await Promise.all([this.#retiring, this.#current?.dispose()]);
  }

  /** @param known The rights and the heap that it had, if it is to be what it was. */
  async #renew(
    written: PluginSpec,
    known?: { readonly rights: Rights; readonly heap: number },
  ): Promise<void> {
    const spec = await checkPaths(written);
    // There are never more than two generations, or a plugin could be multiplied by replacing it.
    await this.#retiring;
    if (spec.isolation === "inline") {
      const manifest = await inspectPlugin(spec);
      this.#loaded = { spec, manifest, rights: settleRights(manifest, spec) };
      this.#spec = spec;
      this.#number++;
      return this.#switch(null);
    }
    // Its rights are known only after it was loaded once without any. If it asks for none, that was it, and
    // so it is if it asks for what it had before it died.
    let heap = known?.heap ?? spec.heap ?? DEFAULT_HEAP;
    let generation = this.#begin(spec, known?.rights ?? NO_RIGHTS, heap);
    const manifest = await generation.describe();
    let rights: Rights;
    try {
      rights = settleRights(manifest, spec);
    } catch (error) {
      await generation.kill();
      throw error;
    }
    heap = spec.heap ?? manifest.limits.heap;
    if (!sameRights(rights, generation.rights) || heap !== generation.heap) {
      await generation.kill();
      generation = this.#begin(spec, rights, heap);
    }
    await generation.load(manifest);
    if (this.#closed) return await generation.dispose();
    this.#spec = spec;
    this.#loaded = { spec, manifest, rights };
    this.#switch(generation);
  }

  #begin(spec: PluginSpec, rights: Rights, heap: number): Generation {
    return new Generation({
      spec,
      rights,
      heap,
      number: ++this.#number,
      socket: this.#freeSocket(),
      watch: this.#options.watch,
      onDeath: (dead, exit) => this.#died(dead, exit),
      onLog: (level, message, fields) =>
        this.#options.listener.event({ kind: "log", plugin: spec.name, level, message, fields }),
      onEndpoints: (list) =>
        this.#options.listener.event({ kind: "endpoints", plugin: spec.name, list }),
    });
  }

  #known(): { readonly rights: Rights; readonly heap: number } | undefined {
    const loaded = this.#loaded;
    if (loaded === null) return undefined;
    return { rights: loaded.rights, heap: this.#spec.heap ?? loaded.manifest.limits.heap };
  }

  #freeSocket(): string {
    const [a, b] = this.#options.sockets;
    return this.#current !== null && this.#current.socket === a ? b : a;
  }

  #switch(next: Generation | null): void {
    const old = this.#current;
    clearTimeout(this.#timer);
    this.#current = next;
    old?.retire();
    this.#options.listener.up(next);
    next?.serve();
    if (old !== null) this.#retiring = this.#retire(old);
  }

  async #retire(old: Generation): Promise<void> {
    this.#old = old;
    let timer: ReturnType<typeof setTimeout> | undefined;
    if (!this.#closed && this.#options.listener.draining(old)) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
        timer = setTimeout(resolve, this.#options.drainTimeout);
      });
    }
    clearTimeout(timer);
    this.#old = null;
    this.#options.listener.down(old, "it was replaced");
    await old.dispose();
  }

  #died(generation: Generation, exit: SandboxExit): void {
    this.#options.listener.down(generation, exit.message);
    if (generation === this.#old) return this.#drained();
    if (generation !== this.#current) return;
    this.#current = null;
    this.#later(exit.cause, exit.message);
  }

  #later(cause: SandboxExit["cause"] | "load", message: string): void {
    if (this.#closed) return;
    const { listener } = this.#options;
    const plugin = this.#spec.name;
    const { delay, open } = this.#policy.crashed(performance.now());
    listener.event({ kind: "crashed", plugin, cause, message, restartIn: delay });
    if (open) listener.event({ kind: "breaker_open", plugin, milliseconds: delay });
    this.#timer = setTimeout(() => this.#restart(), delay);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  #restart(): void {
    this.#work = this.#work.then(async () => {
      if (this.#closed || this.#current !== null) return;
      const began = performance.now();
      try {
        await this.#renew(this.#spec, this.#known());
        this.#event("restarted", began);
      } catch (error) {
        this.#later("load", error instanceof Error ? error.message : String(error));
      }
    });
  }

  #event(kind: "started" | "restarted" | "replaced", began: number): void {
    if (this.#closed) return;
    const milliseconds = performance.now() - began;
    this.#options.listener.event({ kind, plugin: this.#spec.name, milliseconds });
  }
}
