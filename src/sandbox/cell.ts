/**
 * Entry of a cell: the Web Worker whose permissions hold a plugin.
 *
 * Only a Web Worker can be given permissions, and only a node thread can be given a heap limit and be
 * interrupted. So the plugin runs in a node thread inside a Web Worker, whose rights it inherits.
 *
 * @module
 */
import { Worker as Thread } from "node:worker_threads";

/** What a plugin's thread is started with. */
export interface BootData {
  readonly control: MessagePort;
  /** Name of the Web Lock to hold. */
  readonly lock: string;
  /** Real path of the plugin's folder or file. */
  readonly root: string;
  /** Sluice's own folders, readable until the plugin is loaded. */
  readonly own: readonly string[];
  /** Whether imports are watched over. */
  readonly guarded: boolean;
}

/** What a cell is told. */
export type CellOrder =
  | { readonly kind: "start"; readonly boot: BootData; readonly heap: number }
  | { readonly kind: "kill" };

/** What a cell says: the thread ended, because of an error if `message` is not empty. */
export interface CellReport {
  readonly code: string;
  readonly message: string;
}

let thread: Thread | null = null;

globalThis.addEventListener("message", (event) => {
  const order = (event as MessageEvent<CellOrder>).data;
  if (order.kind === "kill") void thread?.terminate();
  else start(order.boot, order.heap);
});

function start(boot: BootData, heap: number): void {
  let report: CellReport = { code: "", message: "" };
  thread = new Thread(new URL("./boot.ts", import.meta.url), {
    workerData: boot,
    transferList: [boot.control as never],
    resourceLimits: { maxOldGenerationSizeMb: Math.max(8, Math.ceil(heap / 1024 / 1024)) },
  });
  thread.on("error", (error: Error & { code?: unknown }) => {
    report = { code: String(error.code ?? ""), message: String(error.message) };
  });
  thread.on("exit", (code: number) => {
    const { postMessage: post } = globalThis as unknown as {
      postMessage(message: CellReport): void;
    };
    post(report.message === "" ? { code: String(code), message: "" } : report);
  });
}
