/**
 * Passes values on in a pace that bothers nobody: of several in quick succession, only the last.
 *
 * @module
 */

// Taken before any code of a plugin runs, which could put others in their place.
const { setTimeout, clearTimeout } = globalThis;

/** Passes on the last of the values it is given, and keeps it until it is opened. */
export class Paced<T> {
  readonly #pace: number;
  readonly #pass: (value: T) => void;
  #waiting: { readonly value: T } | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #state: "shut" | "open" | "closed" = "shut";

  /**
   * @param pace Least time between two values that are passed on, in milliseconds.
   * @param pass Takes them.
   */
  constructor(pace: number, pass: (value: T) => void) {
    this.#pace = pace;
    this.#pass = pass;
  }

  /** Gives it a value: passed on now or soon, unless another one comes before. */
  put(value: T): void {
    if (this.#state === "closed") return;
    this.#waiting = { value };
    this.#flush();
  }

  /** Passes on what has come, and what will come. */
  open(): void {
    if (this.#state !== "shut") return;
    this.#state = "open";
    this.#flush();
  }

  /** Ends it for good. What has not been passed on is dropped. */
  close(): void {
    this.#state = "closed";
    this.#waiting = null;
    clearTimeout(this.#timer);
  }

  #flush(): void {
    if (this.#state !== "open" || this.#waiting === null || this.#timer !== undefined) return;
    const { value } = this.#waiting;
    this.#waiting = null;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#flush();
    }, this.#pace);
    this.#pass(value);
  }
}
