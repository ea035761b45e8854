/**
 * One service worker as the server has it: what it is asked, what it answers, and when it is given up.
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
import type { GroupTrafficHealth, TrafficHealth } from "../service/traffic_health.ts";
import type { UpstreamState } from "../service/upstream_runtime.ts";
import { reserveDescriptors } from "../observe/descriptors.ts";
import type { WorkerPermissions } from "./worker_permissions.ts";

/** How long a worker may take to load its code and to make its first edition ready, in milliseconds. */
const START_TIMEOUT = 30_000;
/** How long it may take to make another edition ready, in milliseconds. */
const PREPARE_TIMEOUT = 30_000;
/** How long it may take to begin serving by it, in milliseconds. */
const COMMIT_TIMEOUT = 10_000;
const WORKER = new URL("../service/worker.ts", import.meta.url);
const PLUGIN_WORKER = new URL("../service/plugin_worker.ts", import.meta.url);
/** What a worker gets after the grace period, or when it is told to, to say that it has cut what was left, in milliseconds. */
const LAST_WORDS = 3_000;

/** What a {@linkcode ServiceWorker} is made from. */
export interface ServiceWorkerOptions {
  /** For debuggers. */
  readonly name: string;
  readonly permissions: WorkerPermissions;
  /** Whether inline plugins run in it. */
  readonly inline: boolean;
  /** Called once if it ends, fails or is given up before it was told to end. */
  readonly onDeath: (worker: ServiceWorker, death: Death) => void;
  /** Called once when it is no more, whatever ended it. */
  readonly onGone: (worker: ServiceWorker) => void;
  /** No request of it uses this edition any more. */
  readonly onReleased: (worker: ServiceWorker, edition: number) => void;
  /** Takes what it says beside how it is. */
  readonly onMessage: (worker: ServiceWorker, message: WorkerMessage) => void;
}

/** Why a worker is no more. */
export interface Death {
  readonly reason: string;
  /** Whether its thread may still run, because it does not listen to anybody. */
  readonly hangs: boolean;
  /** What it had when it was last heard of, which is not more than a moment ago if it ended itself. */
  readonly load: WorkerLoad;
}

interface Waiter {
  resolve(): void;
  reject(error: Error): void;
}

/** Descriptors that its thread opens to begin with. */
const DESCRIPTORS = 10;

/** A service worker. */
export class ServiceWorker {
  readonly permissions: WorkerPermissions;
  readonly #options: ServiceWorkerOptions;
  readonly #worker: Worker;
  /** Who waits for which answer. */
  readonly #waiters = new Map<string, Waiter>();
  /** To be called when its thread has its descriptors, or is no more. */
  readonly #opened: () => void;
  #edition = 0;
  #drained: ((cut: number) => void) | null = null;
  #listening = false;
  #dead = false;
  #heardAt = performance.now();
  #load: WorkerLoad = { connections: 0, requests: 0, retiredEditions: 0 };
  #shown: { readonly groups: readonly GroupTrafficHealth[]; readonly at: number } | null = null;

  /** @throws {DescriptorShortage} If there are too few descriptors for its thread. */
  constructor(options: ServiceWorkerOptions) {
    this.#options = options;
    this.permissions = options.permissions;
    this.#opened = reserveDescriptors(DESCRIPTORS, `service worker ${options.name}`);
    try {
      this.#worker = new Worker(options.inline ? PLUGIN_WORKER : WORKER, {
        type: "module",
        name: options.name,
        deno: { permissions: options.permissions },
      });
    } catch (error) {
      this.#opened();
      throw error;
    }
    this.#worker.onerror = (event) => {
      // Without this the whole program would end with the worker.
      event.preventDefault();
      this.giveUp(event.message || "it ended with an unknown error");
    };
    this.#worker.onmessageerror = () => this.giveUp("a message from it could not be read");
    this.#worker.onmessage = (event: MessageEvent<WorkerMessage>) => this.#hear(event.data);
  }

  /** Whether it serves. */
  get ready(): boolean {
    return this.#listening && !this.#dead;
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** Number of the edition that it serves by; `0` before the first. */
  get edition(): number {
    return this.#edition;
  }

  /** What it has to do, as it last said. */
  get load(): WorkerLoad {
    return this.#load;
  }

  /** What its traffic has shown, as it last said, or what it was given to begin with; `null`: nothing so far. */
  get trafficHealth(): TrafficHealth | null {
    if (this.#shown === null) return null;
    const { groups, at } = this.#shown;
    return { groups, age: performance.now() - at };
  }

  /** Milliseconds since it last said anything. */
  get silence(): number {
    return performance.now() - this.#heardAt;
  }

  /** Takes time from its silence in which nobody was there to hear it, in milliseconds. */
  excuse(ms: number): void {
    this.#heardAt = Math.min(performance.now(), this.#heardAt + ms);
  }

  /**
   * Starts it, without letting it listen.
   *
   * @param make Makes what it is started with, as late as can be: what is said afterwards reaches it by `tell`.
   * @throws {Error} If it cannot start.
   */
  async start(make: () => { setup: WorkerSetup; transfer: Transferable[] }): Promise<void> {
    try {
      await this.#answer("loaded", START_TIMEOUT, "it did not start");
    } finally {
      this.#opened();
    }
    const { setup, transfer } = make();
    const prepared = this.#answer(
      `prepared ${setup.edition.number}`,
      START_TIMEOUT,
      "it did not start",
    );
    this.#post({ kind: "start", setup }, transfer);
    await prepared;
    this.#edition = setup.edition.number;
  }

  /** Lets it begin with what the traffic of another has shown. Before it listens. */
  inherit(health: TrafficHealth): void {
    this.#shown = { groups: health.groups, at: performance.now() - health.age };
    this.#post({ kind: "inherit", health });
  }

  /**
   * Lets it listen; resolves when it does.
   *
   * @throws {Error} If it cannot.
   */
  async listen(): Promise<void> {
    const ready = this.#answer("ready", START_TIMEOUT, "it did not listen");
    this.#post({ kind: "listen" });
    await ready;
    this.#listening = true;
  }

  /**
   * Lets it make another edition ready.
   *
   * @throws {Error} If it cannot; the edition before goes on.
   */
  async prepare(edition: WorkerEdition): Promise<void> {
    const prepared = this.#answer(
      `prepared ${edition.number}`,
      PREPARE_TIMEOUT,
      "it did not make the new config ready",
    );
    this.#post({ kind: "prepare", edition });
    await prepared;
  }

  /**
   * Lets it serve by the edition that it has made ready.
   *
   * @throws {Error} If it does not. It is given up then.
   */
  async commit(number: number, upstreams: UpstreamState): Promise<void> {
    const committed = this.#answer(`committed ${number}`, COMMIT_TIMEOUT, "it did not switch");
    this.#post({ kind: "commit", number, upstreams });
    try {
      await committed;
      this.#edition = number;
    } catch (error) {
      this.giveUp((error as Error).message);
      throw error;
    }
  }

  /** Lets it forget the edition that it has made ready. */
  abort(number: number): void {
    this.#post({ kind: "abort", number });
  }

  /** Tells it something that has no answer. */
  tell(message: ServerMessage): void {
    this.#post(message);
  }

  /**
   * Lets it finish what runs, then ends it.
   *
   * @param grace Milliseconds that this may take.
   * @param gentle Milliseconds for which connections that are idle may bring one more request.
   * @returns How many connections were cut.
   */
  async drain(grace: number, gentle: number): Promise<number> {
    if (this.#dead) return 0;
    if (!this.#listening) {
      this.end();
      return 0;
    }
    this.#listening = false;
    const cut = await new Promise<number>((resolve) => {
      // A worker that hangs cannot say that it is done. One after the other: where the machine has stood still beyond
      // both times, the worker still gets the second one to write its log.
      let timer = setTimeout(() => {
        timer = setTimeout(() => resolve(0), LAST_WORDS);
      }, grace);
      this.#drained = (count) => {
        clearTimeout(timer);
        resolve(count);
      };
      this.#post({ kind: "drain", grace, gentle });
    });
    this.end();
    return cut;
  }

  /** Lets a drain not wait any longer: what is left is cut. */
  cut(): void {
    this.#post({ kind: "cut" });
    // One that hangs cannot say that it is done.
    const drained = this.#drained;
    if (drained !== null) setTimeout(() => drained(0), LAST_WORDS);
  }

  /** Ends it at once, and tells nobody. */
  end(): void {
    this.#gone("it was ended");
  }

  /** Ends it at once, and tells that it died. */
  giveUp(reason: string, hangs = false): void {
    if (this.#dead) return;
    this.#gone(reason);
    this.#options.onDeath(this, { reason, hangs, load: this.#load });
  }

  #gone(reason: string): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#listening = false;
    this.#worker.terminate();
    for (const waiter of [...this.#waiters.values()]) waiter.reject(new Error(reason));
    this.#waiters.clear();
    this.#drained?.(0);
    this.#options.onGone(this);
  }

  #post(message: ServerMessage, transfer: Transferable[] = []): void {
    if (!this.#dead) this.#worker.postMessage(message, transfer);
  }

  #answer(what: string, ms: number, missed: string): Promise<void> {
    if (this.#dead) return Promise.reject(new Error("it has ended"));
    return new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => waiter.reject(new Error(`${missed} within ${ms / 1000} s`)),
        ms,
      );
      const settle = (then: () => void) => {
        clearTimeout(timer);
        if (this.#waiters.get(what) === waiter) this.#waiters.delete(what);
        then();
      };
      const waiter: Waiter = {
        resolve: () => settle(resolve),
        reject: (error) => settle(() => reject(error)),
      };
      this.#waiters.set(what, waiter);
    });
  }

  #hear(message: WorkerMessage): void {
    if (this.#dead) return;
    this.#heardAt = performance.now();
    switch (message.kind) {
      case "loaded":
      case "ready":
        this.#waiters.get(message.kind)?.resolve();
        break;
      case "prepared":
      case "committed":
        this.#waiters.get(`${message.kind} ${message.number}`)?.resolve();
        break;
      case "refused":
        this.#waiters.get(`prepared ${message.number}`)?.reject(new Error(message.message));
        break;
      case "released":
        this.#options.onReleased(this, message.number);
        break;
      case "failed":
        this.giveUp(message.message);
        break;
      case "ended":
        this.#load = message.load;
        this.giveUp("it ended itself");
        break;
      case "drained":
        this.#drained?.(message.cut);
        break;
      case "alive":
        this.#load = message.load;
        break;
      case "traffic_health":
        this.#shown = { groups: message.groups, at: performance.now() };
        break;
      default:
        this.#options.onMessage(this, message);
    }
  }
}
