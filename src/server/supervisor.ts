/**
 * Keeps the workers of one service running: starts them, replaces those that die or hang, moves them to another
 * edition of the config, drains them.
 *
 * @module
 */
import type {
  ServerMessage,
  WorkerEdition,
  WorkerLoad,
  WorkerMessage,
  WorkerSetup,
} from "../service/control.ts";
import type { TrafficHealth } from "../service/traffic_health.ts";
import type { UpstreamState } from "../service/upstream_runtime.ts";
import { type Death, ServiceWorker } from "./service_worker.ts";
import type { WorkerPermissions } from "./worker_permissions.ts";

/** What workers are run by; may be another after a reload. */
export interface WorkerTerms {
  /** How many there are. */
  readonly threads: number;
  readonly permissions: WorkerPermissions;
  /** Whether inline plugins run in them. */
  readonly inline: boolean;
  /** Silence in milliseconds after which a worker counts as hanging; it says each second that it is alive. */
  readonly heartbeatTimeout: number;
  /** How long a worker that was replaced may go on with what it has, in milliseconds. */
  readonly retireTimeout: number;
  /** How many that were replaced may go on at a time; the oldest is cut when there are more. */
  readonly maxRetired: number;
}

/** What a {@linkcode Supervisor} needs to know and to tell. */
export interface SupervisorOptions {
  /** Name of the service. */
  readonly service: string;
  readonly terms: WorkerTerms;
  /** Makes what a worker is started with, and what is transferred with it. */
  readonly setup: (
    worker: ServiceWorker,
    index: number,
    edition: WorkerEdition | null,
  ) => { setup: WorkerSetup; transfer: Transferable[] };
  /** Called once for each worker that is no more, whatever ended it. */
  readonly onGone: (worker: ServiceWorker) => void;
  /** Called when another has taken the place of a worker, which finishes what it has. */
  readonly onRetiring: (worker: ServiceWorker) => void;
  /** No request of a worker uses this edition any more. */
  readonly onReleased: (worker: ServiceWorker, edition: number) => void;
  readonly onEvent: (event: SupervisorEvent) => void;
  /** Takes what workers say beside how they are. */
  readonly onMessage: (worker: ServiceWorker, message: WorkerMessage) => void;
}

/** Something that happened to a worker. */
export type SupervisorEvent =
  | { readonly kind: "ready"; readonly index: number; readonly restarts: number }
  | {
    readonly kind: "died";
    readonly index: number;
    readonly reason: string;
    /** Whether its thread may run on, because it listens to nobody. */
    readonly hangs: boolean;
    /** What it had; `null`: it had not begun to serve. */
    readonly load: WorkerLoad | null;
    /** Milliseconds until another starts. */
    readonly delay: number;
  }
  /** A worker that was replaced has ended; so many connections of it were cut. */
  | { readonly kind: "retired"; readonly index: number; readonly cut: number };

/** How workers are to change, all of them or none. */
export interface WorkerChange {
  readonly edition: WorkerEdition;
  readonly terms: WorkerTerms;
  /** Whether workers have to be replaced by others, because their rights do not suffice. */
  readonly replace: boolean;
}

/** A worker as operators see it. */
export interface WorkerStatus {
  /** Name of the service and position in it. */
  readonly id: string;
  /** `retired`: another has taken its place, and it finishes what it has. */
  readonly state: "starting" | "ready" | "waiting" | "retired";
  /** How often another one has taken its place because it died. */
  readonly restarts: number;
  /** Milliseconds since it began to serve; `null` if it does not. */
  readonly uptime: number | null;
  /** Milliseconds since it was last heard of; `null` if there is none now. */
  readonly silence: number | null;
  /** What it has to do, as it last said; `null` if there is none now. */
  readonly load: WorkerLoad | null;
}

const FIRST_DELAY = 100;
const LONGEST_DELAY = 5_000;
/** A worker that ran so long has recovered: its next death is the first again. */
const STABLE_AFTER = 30_000;
/** Between two looks at the heartbeats, in milliseconds. */
const HEARTBEAT_INTERVAL = 1_000;

/** As {@linkcode Death}; a worker that could not start had nothing. */
type RestartCause = Omit<Death, "load"> & { readonly load: WorkerLoad | null };

interface Slot {
  readonly index: number;
  worker: ServiceWorker | null;
  /** Ready to take its place, but not listening yet. */
  next: ServiceWorker | null;
  /** Still serves until there is another. */
  leaving: ServiceWorker | null;
  /** What the traffic of the one before has shown, and when that was read, for the one to come. */
  legacy: { readonly health: TrafficHealth; readonly at: number } | null;
  restarts: number;
  /** Deaths in a row. */
  failures: number;
  readyAt: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** The workers of one service. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  #terms: WorkerTerms;
  readonly #slots: Slot[] = [];
  /** Workers that were replaced and finish what they have, oldest first. */
  readonly #retired = new Map<ServiceWorker, number>();
  #change: WorkerChange | null = null;
  #watch: ReturnType<typeof setInterval> | undefined;
  /** When the heartbeats were last looked at. */
  #lookedAt = 0;
  /** Number of the edition that workers are to serve by. */
  #edition = 0;
  #running = false;
  #stopping = false;
  /** Workers that were told to cut what they have. */
  readonly #cut = new WeakSet<ServiceWorker>();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#terms = options.terms;
    for (let index = 0; index < options.terms.threads; index++) this.#slots.push(makeSlot(index));
  }

  /** How many workers serve. */
  get ready(): number {
    return this.#slots.filter(({ worker }) => worker?.ready === true).length;
  }

  /** Rights of the workers. */
  get permissions(): WorkerPermissions {
    return this.#terms.permissions;
  }

  /** What the traffic of each worker has shown, by position; `null`: nothing. */
  get trafficHealth(): (TrafficHealth | null)[] {
    return this.#slots.map(({ worker }) => worker?.trafficHealth ?? null);
  }

  /** How each worker is. */
  get status(): WorkerStatus[] {
    const { service } = this.#options;
    const now = performance.now();
    const serving = this.#slots.map(({ index, worker, restarts, readyAt }): WorkerStatus => ({
      id: `${service}-${index}`,
      state: worker === null ? "waiting" : worker.ready ? "ready" : "starting",
      restarts,
      uptime: worker?.ready === true ? now - readyAt : null,
      silence: worker === null ? null : worker.silence,
      load: worker === null ? null : worker.load,
    }));
    const retired = [...this.#retired].map(([worker, index]): WorkerStatus => ({
      id: `${service}-${index}`,
      state: "retired",
      restarts: 0,
      uptime: null,
      silence: worker.silence,
      load: worker.load,
    }));
    return [...serving, ...retired];
  }

  /**
   * Makes all workers ready, without letting them listen.
   *
   * @throws {Error} If one cannot start. The others are ended then.
   */
  async start(): Promise<void> {
    try {
      await Promise.all(this.#slots.map(async (slot) => {
        slot.worker = this.#make(slot.index, this.#terms);
        await this.#begin(slot.worker, slot.index, null);
      }));
    } catch (error) {
      this.terminate();
      throw error;
    }
  }

  /**
   * Lets all workers listen; resolves when all do.
   *
   * @param health What the traffic of other workers in their positions has shown.
   * @throws {Error} If one cannot. All are ended then.
   */
  async listen(health: readonly (TrafficHealth | null)[] = []): Promise<void> {
    for (const slot of this.#slots) leave(slot, health[slot.index]);
    try {
      await Promise.all(this.#slots.map((slot) => this.#serve(slot)));
    } catch (error) {
      this.terminate();
      throw error;
    }
    this.#running = true;
    this.#lookedAt = performance.now();
    this.#watch = setInterval(() => this.#checkHeartbeats(), HEARTBEAT_INTERVAL);
  }

  /**
   * Makes another edition ready, in the workers or in workers that are to replace them.
   *
   * @throws {Error} If one cannot; `abort` must follow then.
   */
  async prepare(change: WorkerChange): Promise<void> {
    this.#change = change;
    const work: Promise<unknown>[] = [];
    for (let index = 0; index < change.terms.threads; index++) {
      const slot = this.#slots[index] ?? makeSlot(index);
      this.#slots[index] = slot;
      if (!change.replace && slot.worker?.ready === true) {
        work.push(slot.worker.prepare(change.edition));
        continue;
      }
      work.push(this.#beginNext(slot, change));
    }
    const results = await Promise.allSettled(work);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  /** Serves by the edition that was made ready. What cannot is replaced like a worker that died. */
  async commit(upstreams: UpstreamState): Promise<void> {
    const { edition, terms } = this.#change!;
    this.#change = null;
    this.#terms = terms;
    this.#edition = edition.number;
    await Promise.all(this.#slots.map(async (slot) => {
      const { worker, next } = slot;
      if (slot.index >= terms.threads) return this.#dismiss(slot);
      if (next === null) {
        // If it fails, it dies, and another is started by the new edition.
        await worker?.commit(edition.number, upstreams).catch(() => {});
        return;
      }
      clearTimeout(slot.timer);
      slot.next = null;
      slot.leaving = worker;
      leave(slot, worker?.trafficHealth);
      slot.worker = next;
      try {
        next.tell({ kind: "refresh", upstreams });
        await this.#serve(slot);
      } catch (error) {
        next.giveUp((error as Error).message);
      }
    }));
    this.#slots.length = terms.threads;
  }

  /** Everything stays as it is. */
  abort(): void {
    const change = this.#change;
    this.#change = null;
    if (change === null) return;
    for (const slot of this.#slots) {
      if (slot.next === null) slot.worker?.abort(change.edition.number);
      slot.next?.end();
      slot.next = null;
    }
    this.#slots.length = this.#terms.threads;
  }

  /** Tells the workers that serve something; those that begin hear it when they do. */
  tell(message: ServerMessage): void {
    for (const { worker } of this.#slots) worker?.tell(message);
  }

  /** Tells something to those, too, that only finish what they have. */
  tellAll(message: ServerMessage): void {
    for (const worker of this.#all) worker.tell(message);
  }

  /** Lets drains not wait any longer for what they wait for. */
  cut(): void {
    for (const worker of this.#all) worker.cut();
  }

  /** Those that serve or begin to, and those that only finish what they have. */
  get #all(): ServiceWorker[] {
    const serving = this.#slots.flatMap(({ worker, leaving }) => [worker ?? [], leaving ?? []]);
    return [...serving.flat(), ...this.#retired.keys()];
  }

  /**
   * Lets all workers finish what runs, then ends them.
   *
   * @param grace Milliseconds that this may take.
   * @param gentle Milliseconds for which connections that are idle may bring one more request.
   * @returns How many connections were cut.
   */
  async drain(grace: number, gentle: number): Promise<number> {
    this.#stopping = true;
    clearInterval(this.#watch);
    const workers: ServiceWorker[] = [];
    for (const { worker, next, leaving, timer } of this.#slots) {
      clearTimeout(timer);
      next?.end();
      for (const one of [worker, leaving]) if (one !== null) workers.push(one);
    }
    const left = new Set(this.#retired.keys());
    // Those that were replaced drain already; from now on both times hold for them, too.
    const hurry = setTimeout(
      () => left.forEach((worker) => worker.tell({ kind: "hurry" })),
      gentle,
    );
    const timer = setTimeout(() => left.forEach((worker) => worker.cut()), grace);
    const cuts = await Promise.all([
      ...workers.map((worker) => worker.drain(grace, gentle)),
      this.#whenRetired(),
    ]);
    clearTimeout(hurry);
    clearTimeout(timer);
    this.terminate();
    return cuts.reduce((sum, cut) => sum + cut, 0);
  }

  /** Ends all workers at once. */
  terminate(): void {
    this.#stopping = true;
    clearInterval(this.#watch);
    for (const slot of this.#slots) {
      clearTimeout(slot.timer);
      for (const worker of [slot.worker, slot.next, slot.leaving]) worker?.end();
    }
    for (const worker of this.#retired.keys()) worker.end();
  }

  #make(index: number, { permissions, inline }: WorkerTerms): ServiceWorker {
    return new ServiceWorker({
      name: `${this.#options.service}-${index}`,
      permissions,
      inline,
      onDeath: (worker, death) => this.#died(worker, death),
      onGone: (worker) => this.#options.onGone(worker),
      onReleased: (worker, edition) => this.#options.onReleased(worker, edition),
      onMessage: (worker, message) => this.#options.onMessage(worker, message),
    });
  }

  /** In place of one that is being started by the old edition, too. */
  async #beginNext(slot: Slot, { terms, edition }: WorkerChange): Promise<void> {
    slot.next = this.#make(slot.index, terms);
    await this.#begin(slot.next, slot.index, edition);
  }

  async #begin(worker: ServiceWorker, index: number, edition: WorkerEdition | null): Promise<void> {
    try {
      await worker.start(() => this.#options.setup(worker, index, edition));
    } catch (error) {
      worker.end();
      throw error;
    }
  }

  /** Lets the worker of a slot listen, and the one before it go. */
  async #serve(slot: Slot): Promise<void> {
    const worker = slot.worker!;
    const { legacy } = slot;
    slot.legacy = null;
    if (legacy !== null) {
      const { health: { groups, age }, at } = legacy;
      worker.inherit({ groups, age: age + performance.now() - at });
    }
    await worker.listen();
    slot.readyAt = performance.now();
    this.#options.onEvent({ kind: "ready", index: slot.index, restarts: slot.restarts });
    if (slot.leaving !== null) void this.#retire(slot.leaving, slot.index);
    slot.leaving = null;
  }

  #dismiss(slot: Slot): void {
    clearTimeout(slot.timer);
    if (slot.worker !== null) void this.#retire(slot.worker, slot.index);
    slot.worker = null;
  }

  /** Lets a worker finish what it has, while others serve what is new. */
  async #retire(worker: ServiceWorker, index: number): Promise<void> {
    if (worker.dead) return;
    this.#retired.set(worker, index);
    this.#options.onRetiring(worker);
    if (this.#retired.size > this.#terms.maxRetired) {
      const oldest = [...this.#retired.keys()].find((one) => !this.#cut.has(one));
      oldest?.cut();
      if (oldest !== undefined) this.#cut.add(oldest);
    }
    const { retireTimeout } = this.#terms;
    const cut = await worker.drain(retireTimeout, retireTimeout);
    this.#retired.delete(worker);
    this.#options.onEvent({ kind: "retired", index, cut });
    this.#onRetired?.();
  }

  #onRetired: (() => void) | null = null;

  async #whenRetired(): Promise<number> {
    while (this.#retired.size > 0) {
      await new Promise<void>((resolve) => this.#onRetired = resolve);
    }
    return 0;
  }

  #died(worker: ServiceWorker, death: Death): void {
    const slot = this.#slots.find((one) => one.worker === worker || one.leaving === worker);
    if (slot === undefined) return;
    if (slot.leaving === worker) {
      slot.leaving = null;
      return;
    }
    // Whoever starts the first ones hears of it there.
    if (!this.#running) return;
    slot.worker = null;
    leave(slot, worker.trafficHealth);
    if (!this.#stopping) this.#scheduleRestart(slot, death);
  }

  #scheduleRestart(slot: Slot, death: RestartCause): void {
    if (performance.now() - slot.readyAt > STABLE_AFTER) slot.failures = 0;
    const delay = Math.min(FIRST_DELAY * 2 ** slot.failures, LONGEST_DELAY);
    slot.failures++;
    slot.restarts++;
    this.#options.onEvent({ kind: "died", index: slot.index, ...death, delay });
    slot.timer = setTimeout(() => void this.#restart(slot), delay);
  }

  async #restart(slot: Slot): Promise<void> {
    if (this.#stopping) return;
    let worker: ServiceWorker;
    try {
      worker = slot.worker = this.#make(slot.index, this.#terms);
    } catch (error) {
      const { message: reason } = error as Error;
      return this.#scheduleRestart(slot, { reason, hangs: false, load: null });
    }
    try {
      await this.#begin(worker, slot.index, null);
      if (slot.worker !== worker) return;
      if (worker.edition < this.#edition) {
        // While it started, the others went on to another edition.
        worker.end();
        return await this.#restart(slot);
      }
      await this.#serve(slot);
    } catch (error) {
      worker.end();
      if (slot.worker !== worker || this.#stopping) return;
      leave(slot, worker.trafficHealth);
      slot.worker = null;
      const reason = (error as Error).message;
      this.#scheduleRestart(slot, { reason, hangs: false, load: null });
    }
  }

  #checkHeartbeats(): void {
    const { heartbeatTimeout } = this.#terms;
    const now = performance.now();
    // Where the machine has stood still, or this thread was held up, what workers said waits to be heard.
    const late = now - this.#lookedAt - HEARTBEAT_INTERVAL;
    this.#lookedAt = now;
    if (late > 0) {
      for (const { worker } of this.#slots) worker?.excuse(late);
      for (const worker of this.#retired.keys()) worker.excuse(late);
    }
    for (const { worker } of this.#slots) {
      if (worker?.ready !== true || worker.silence < heartbeatTimeout) continue;
      worker.giveUp(silenceOf(worker), true);
    }
    for (const worker of this.#retired.keys()) {
      if (worker.silence >= heartbeatTimeout) worker.giveUp(silenceOf(worker), true);
    }
  }
}

function silenceOf({ silence }: ServiceWorker): string {
  return `it was silent for ${Math.round(silence / 100) / 10} s`;
}

/** Keeps what the traffic of a worker has shown for the one that takes its place. */
function leave(slot: Slot, health: TrafficHealth | null | undefined): void {
  if (health !== null && health !== undefined) slot.legacy = { health, at: performance.now() };
}

function makeSlot(index: number): Slot {
  return {
    index,
    worker: null,
    next: null,
    leaving: null,
    legacy: null,
    restarts: 0,
    failures: 0,
    readyAt: 0,
    timer: undefined,
  };
}
