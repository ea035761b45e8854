/**
 * The debugger's door to the main thread of a program that was started with `--inspect`: collects its garbage, and
 * weighs what is left.
 *
 * @module
 */
import { DEADLINE, withDeadline } from "./deadline.ts";
import type { Sluice } from "./sluice.ts";

/** A connection to the inspector of a program. */
export class Inspector implements Disposable {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #last = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      const { id, result } = JSON.parse(data as string);
      this.#waiting.get(id)?.(result);
      this.#waiting.delete(id);
    };
  }

  /** Connects to a program that was started with the right `--inspect=127.0.0.1:0`. */
  static async connect(sluice: Sluice): Promise<Inspector> {
    const [, url] = await sluice.waitForOutput(/Debugger listening on (ws:\S+)/);
    const socket = new WebSocket(url!);
    const opened = new Promise<void>((resolve, reject) => {
      socket.onopen = () => resolve();
      socket.onerror = () => reject(new Error(`Cannot connect to ${url}`));
    });
    await withDeadline(opened, DEADLINE, "the inspector");
    return new Inspector(socket);
  }

  /** Bytes of the heap of the main thread that are in use when all garbage is collected. */
  async heap(): Promise<number> {
    await this.#ask("HeapProfiler.collectGarbage");
    const { usedSize } = await this.#ask("Runtime.getHeapUsage") as { usedSize: number };
    return usedSize;
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  #ask(method: string): Promise<unknown> {
    const id = ++this.#last;
    const answer = new Promise<unknown>((resolve) => this.#waiting.set(id, resolve));
    this.#socket.send(JSON.stringify({ id, method, params: {} }));
    return withDeadline(answer, 30_000, `the answer to ${method}`);
  }
}
