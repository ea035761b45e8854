/**
 * Keeps the workers of one service running: starts them, replaces those that die or hang, drains them.
 *
 * @module
 */
import type { ServerMessage, WorkerMessage } from "../service/control.ts";
import type { WorkerPermissions } from "./worker_permissions.ts";

/** What a {@linkcode Supervisor} needs to know and to tell. */
export interface SupervisorOptions {
  /** Name of the service. */
  readonly service: string;
  readonly threads: number;
  readonly permissions: WorkerPermissions;
  /** Makes the start message of a worker, and what is transferred with it. */
  readonly setup: (index: number) => { message: ServerMessage; transfer: Transferable[] };
  readonly onEvent: (event: SupervisorEvent) => void;
  /** Takes what workers say beside how they are. */
  readonly onMessage: (index: number, message: WorkerMessage) => void;
}

/** A worker as operators see it. */
export interface WorkerStatus {
  /** Name of the service and position in it. */
  readonly id: string;
  readonly state: "starting" | "ready" | "waiting";
  /** How often another one has taken its place. */
  readonly restarts: number;
  /** Milliseconds since it began to serve; `null` if it does not. */
  readonly uptime: number | null;
  /** Milliseconds since it was last heard of; `null` if there is none now. */
  readonly silence: number | null;
}

/** Something that happened to a worker. */
export type SupervisorEvent =
  | { readonly kind: "ready"; readonly index: number; readonly restarts: number }
  | {
    readonly kind: "died";
    readonly index: number;
    readonly reason: string;
    readonly delay: number;
  };

/** Silence after which a worker counts as hanging; it says each second that it is alive. */
const HEARTBEAT_TIMEOUT = 10_000;
const START_TIMEOUT = 30_000;
const FIRST_DELAY = 100;
const LONGEST_DELAY = 5_000;
/** A worker that ran so long has recovered: its next death is the first again. */
const STABLE_AFTER = 30_000;

interface Slot {
  readonly index: number;
  worker: Worker | null;
  ready: boolean;
  restarts: number;
  /** Deaths in a row. */
  failures: number;
  readyAt: number;
  heardAt: number;
  timer: ReturnType<typeof setTimeout> | undefined;
  onDrained: ((cut: number) => void) | null;
}

/** The workers of one service. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #slots: Slot[];
  #watch: ReturnType<typeof setInterval> | undefined;
  #stopping = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#slots = Array.from({ length: options.threads }, (_, index) => ({
      index,
      worker: null,
      ready: false,
      restarts: 0,
      failures: 0,
      readyAt: 0,
      heardAt: 0,
      timer: undefined,
      onDrained: null,
    }));
  }

  /** How many workers serve. */
  get ready(): number {
    return this.#slots.filter((slot) => slot.ready).length;
  }

  /** How each worker is. */
  get status(): WorkerStatus[] {
    const now = performance.now();
    return this.#slots.map((slot) => ({
      id: `${this.#options.service}-${slot.index}`,
      state: slot.ready ? "ready" : slot.worker === null ? "waiting" : "starting",
      restarts: slot.restarts,
      uptime: slot.ready ? now - slot.readyAt : null,
      silence: slot.worker === null ? null : now - slot.heardAt,
    }));
  }

  /**
   * Starts all workers; resolves when all serve.
   *
   * @throws {Error} If one cannot start. The others are stopped then.
   */
  async start(): Promise<void> {
    try {
      await Promise.all(this.#slots.map((slot) => this.#startFirst(slot)));
    } catch (error) {
      this.terminate();
      throw error;
    }
    this.#watch = setInterval(() => this.#checkHeartbeats(), 1_000);
  }

  /** Sends a message to every worker; `make` is called once for each, because ports can go only once. */
  broadcast(make: (index: number) => { message: ServerMessage; transfer: Transferable[] }): void {
    for (const slot of this.#slots) {
      if (slot.worker === null) continue;
      const { message, transfer } = make(slot.index);
      slot.worker.postMessage(message, transfer);
    }
  }

  /**
   * Lets all workers finish what runs, then ends them.
   *
   * @param grace Milliseconds that this may take.
   * @returns How many connections were cut.
   */
  async drain(grace: number): Promise<number> {
    this.#stopping = true;
    clearInterval(this.#watch);
    const cuts = await Promise.all(this.#slots.map((slot) => this.#drainSlot(slot, grace)));
    this.terminate();
    return cuts.reduce((sum, cut) => sum + cut, 0);
  }

  /** Ends all workers at once. */
  terminate(): void {
    this.#stopping = true;
    clearInterval(this.#watch);
    for (const slot of this.#slots) {
      clearTimeout(slot.timer);
      slot.worker?.terminate();
      slot.worker = null;
      slot.ready = false;
    }
  }

  #startFirst(slot: Slot): Promise<void> {
    return new Promise((resolve, reject) => this.#spawn(slot, resolve, reject));
  }

  #spawn(slot: Slot, onReady: () => void, onFailed: (error: Error) => void): void {
    const worker = new Worker(new URL("../service/worker.ts", import.meta.url), {
      type: "module",
      name: `${this.#options.service}-${slot.index}`,
      deno: { permissions: this.#options.permissions },
    });
    slot.worker = worker;
    slot.heardAt = performance.now();
    let settled = false;
    const fail = (reason: string) => {
      if (slot.worker !== worker) return;
      clearTimeout(slot.timer);
      slot.worker = null;
      slot.ready = false;
      worker.terminate();
      slot.onDrained?.(0);
      if (!settled) {
        settled = true;
        onFailed(new Error(reason));
      } else if (!this.#stopping) {
        this.#scheduleRestart(slot, reason);
      }
    };
    slot.timer = setTimeout(
      () => fail(`it did not start within ${START_TIMEOUT / 1000} s`),
      START_TIMEOUT,
    );
    worker.onerror = (event) => {
      // Without this the whole program would end with the worker.
      event.preventDefault();
      fail(event.message || "it ended with an unknown error");
    };
    worker.onmessageerror = () => fail("a message from it could not be read");
    worker.onmessage = (event: MessageEvent<WorkerMessage>) => {
      slot.heardAt = performance.now();
      switch (event.data.kind) {
        case "loaded": {
          const { message, transfer } = this.#options.setup(slot.index);
          worker.postMessage(message, transfer);
          break;
        }
        case "ready":
          clearTimeout(slot.timer);
          slot.ready = true;
          slot.readyAt = performance.now();
          if (!settled) {
            settled = true;
            onReady();
          }
          this.#options.onEvent({ kind: "ready", index: slot.index, restarts: slot.restarts });
          break;
        case "failed":
          fail(event.data.message);
          break;
        case "drained":
          slot.onDrained?.(event.data.cut);
          break;
        case "alive":
          break;
        default:
          this.#options.onMessage(slot.index, event.data);
      }
    };
  }

  #scheduleRestart(slot: Slot, reason: string): void {
    if (performance.now() - slot.readyAt > STABLE_AFTER) slot.failures = 0;
    const delay = Math.min(FIRST_DELAY * 2 ** slot.failures, LONGEST_DELAY);
    slot.failures++;
    slot.restarts++;
    this.#options.onEvent({ kind: "died", index: slot.index, reason, delay });
    slot.timer = setTimeout(() => {
      if (this.#stopping) return;
      this.#spawn(slot, () => {}, (error) => this.#scheduleRestart(slot, error.message));
    }, delay);
  }

  #checkHeartbeats(): void {
    const now = performance.now();
    for (const slot of this.#slots) {
      if (!slot.ready || now - slot.heardAt < HEARTBEAT_TIMEOUT) continue;
      const { worker } = slot;
      slot.worker = null;
      slot.ready = false;
      worker?.terminate();
      this.#scheduleRestart(slot, `it was silent for ${HEARTBEAT_TIMEOUT / 1000} s`);
    }
  }

  #drainSlot(slot: Slot, grace: number): Promise<number> {
    clearTimeout(slot.timer);
    const { worker } = slot;
    if (worker === null || !slot.ready) return Promise.resolve(0);
    return new Promise((resolve) => {
      // A worker that hangs cannot say that it is done.
      const timer = setTimeout(() => resolve(0), grace + 1_000);
      slot.onDrained = (cut) => {
        clearTimeout(timer);
        resolve(cut);
      };
      worker.postMessage({ kind: "drain", grace } satisfies ServerMessage);
    });
  }
}
