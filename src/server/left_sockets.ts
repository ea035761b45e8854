/**
 * Ends the sockets of service workers that are no more, where the runtime does not know them: engine `epoll`.
 *
 * @module
 */
import { LeftBehind, type LoopOfThread } from "../transport/epoll/left_behind.ts";

/** Milliseconds between two looks at whether a thread has ended. One that hangs may never do. */
const LOOK = 100;

/** The loops of service workers. */
export class LeftSockets {
  /** `undefined`: nobody has needed it yet. */
  #loaded: LeftBehind | null | undefined;
  readonly #loops = new Map<object, LoopOfThread>();
  /** Loops of workers that are no more, whose threads may still run. */
  readonly #ending = new Set<LoopOfThread>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** A worker watches its sockets by this loop. */
  note(worker: object, loop: LoopOfThread): void {
    this.#loops.set(worker, loop);
  }

  /** A worker is no more, or is to be none: cuts what it has left, and closes it when its thread has ended. */
  leave(worker: object): void {
    const loop = this.#loops.get(worker);
    if (loop === undefined) return;
    this.#loops.delete(worker);
    if (this.#loaded === undefined) this.#loaded = LeftBehind.load();
    if (this.#loaded === null) return;
    this.#loaded.cut(loop);
    this.#ending.add(loop);
    this.#timer ??= setInterval(() => this.#look(), LOOK);
  }

  /** Waits for nobody any more. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#loaded?.unload();
    this.#loaded = undefined;
  }

  #look(): void {
    for (const loop of this.#ending) {
      if (this.#loaded!.close(loop)) this.#ending.delete(loop);
    }
    if (this.#ending.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
