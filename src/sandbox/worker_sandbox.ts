/**
 * A sandbox that is a thread: the level `worker`.
 *
 * @module
 */
import type { CellOrder, CellReport } from "./cell.ts";
import type { HostMessage, SandboxMessage } from "./control.ts";
import { ownFolders, workerPermissions } from "./permissions.ts";
import {
  type Line,
  refusedMessage,
  type Sandbox,
  type SandboxExit,
  type SandboxOptions,
} from "./sandbox.ts";

/** How long a cell gets to end its thread before it is ended together with it. */
const KILL_TIMEOUT = 1000;

/** Starts a sandbox in a thread of its own. */
export function startWorkerSandbox(options: SandboxOptions): Sandbox {
  return new WorkerSandbox(options);
}

class WorkerSandbox implements Sandbox {
  readonly #options: SandboxOptions;
  readonly #cell: Worker;
  readonly #control: MessagePort;
  readonly #gone = Promise.withResolvers<void>();
  readonly gone: Promise<void> = this.#gone.promise;
  #ended = false;
  #onDead: () => void = () => {};

  constructor(options: SandboxOptions) {
    this.#options = options;
    const { spec, rights } = options;
    const own = ownFolders(rights, spec.root);
    this.#cell = new Worker(new URL("./cell.ts", import.meta.url), {
      type: "module",
      name: `plugin ${spec.name}`,
      deno: { permissions: workerPermissions(rights, spec.root, own) },
    } as WorkerOptions);
    const { port1, port2 } = new MessageChannel();
    this.#control = port1;
    port1.onmessage = (event) => this.#receive(event.data);
    this.#cell.onmessage = (event) => {
      this.#gone.resolve();
      this.#exited(event.data as CellReport);
    };
    this.#cell.onerror = (event) => {
      // Otherwise the error of a cell ends the whole process.
      event.preventDefault();
      this.#exited({ code: "", message: event.message });
    };
    const order: CellOrder = {
      kind: "start",
      boot: {
        control: port2,
        // Locks are of the whole process, where other threads may start sandboxes, too.
        lock: `sluice-plugin-${crypto.randomUUID()}`,
        root: spec.root,
        own,
        guarded: spec.isolation !== "inline",
      },
      heap: options.heap,
    };
    this.#cell.postMessage(order, [port2]);
  }

  send(message: HostMessage): void {
    if (this.#ended) return;
    const move = message[0] === "attach" ? [message[1]] : [];
    this.#control.postMessage(message, move);
  }

  line(makeMemory: () => SharedArrayBuffer | null): Line {
    const { port1, port2 } = new MessageChannel();
    const memory = makeMemory();
    this.send(["attach", port2, memory]);
    return { kind: "port", port: port1, memory };
  }

  residentMemory(): Promise<number | null> {
    // Threads share one resident set; what the thread itself says comes with each pong.
    return Promise.resolve(null);
  }

  async kill(): Promise<void> {
    if (this.#ended) return this.#release();
    this.#ended = true;
    const dead = new Promise<void>((resolve) => this.#onDead = resolve);
    const timer = setTimeout(this.#onDead, KILL_TIMEOUT);
    this.#cell.postMessage({ kind: "kill" } satisfies CellOrder);
    await dead;
    clearTimeout(timer);
    this.#release();
  }

  #receive(message: unknown): void {
    if (this.#ended || !Array.isArray(message)) return;
    if (message[0] === "refused") {
      const text = refusedMessage(String(message[1]), String(message[2]));
      return this.#end({ cause: "import", message: text });
    }
    this.#options.onMessage(message as unknown as SandboxMessage);
  }

  #exited(report: CellReport): void {
    if (this.#ended) return this.#onDead();
    const memory = report.code === "ERR_WORKER_OUT_OF_MEMORY";
    this.#end({
      cause: memory ? "memory" : "exit",
      message: memory
        ? "it used more than its heap limit"
        : report.message === ""
        ? `its thread ended with code ${report.code}`
        : `its thread failed: ${report.message.slice(0, 1000)}`,
    });
  }

  #end(exit: SandboxExit): void {
    void this.kill();
    this.#options.onExit(exit);
  }

  #release(): void {
    this.#control.close();
    this.#cell.terminate();
  }
}
