/**
 * What became of a member's requests in the last while, in fixed space.
 *
 * @module
 */

/** A window is made of so many parts; the oldest leaves as a whole. */
const PARTS = 10;
/** Numbers per part: requests, failures, answers, sum of answer times. */
const FIELDS = 4;

/** Counts over a sliding window. */
export class OutcomeWindow {
  readonly #span: number;
  readonly #parts: Float64Array = new Float64Array(PARTS * FIELDS);
  #turn = 0;
  #requests = 0;
  #failures = 0;
  #answers = 0;
  #time = 0;

  /** @param length Milliseconds; outcomes count for nine tenths of it up to all of it. */
  constructor(length: number) {
    this.#span = length / PARTS;
  }

  /** Requests in the window, as of the last `add` or `moveTo`. */
  get requests(): number {
    return this.#requests;
  }

  /** Those that failed. */
  get failures(): number {
    return this.#failures;
  }

  /** Those that were answered in `latency` milliseconds. */
  get answers(): number {
    return this.#answers;
  }

  /** Mean answer time in milliseconds; `0` without answers. */
  get latency(): number {
    return this.#answers === 0 ? 0 : this.#time / this.#answers;
  }

  /** Counts an outcome. A `latency` below 0 says that there was no answer. */
  add(now: number, failed: boolean, latency: number): void {
    this.moveTo(now);
    const at = this.#turn % PARTS * FIELDS;
    const parts = this.#parts;
    parts[at]!++;
    this.#requests++;
    if (failed) {
      parts[at + 1]!++;
      this.#failures++;
    }
    if (latency < 0) return;
    parts[at + 2]!++;
    parts[at + 3]! += latency;
    this.#answers++;
    this.#time += latency;
  }

  /** Drops what is too old at `now`. */
  moveTo(now: number): void {
    const turn = Math.floor(now / this.#span);
    if (turn <= this.#turn) return;
    if (turn - this.#turn >= PARTS) {
      this.clear();
    } else {
      for (let old = this.#turn + 1; old <= turn; old++) this.#drop(old % PARTS * FIELDS);
    }
    this.#turn = turn;
  }

  /** Forgets all. */
  clear(): void {
    this.#parts.fill(0);
    this.#requests =
      this.#failures =
      this.#answers =
      this.#time =
        0;
  }

  #drop(at: number): void {
    const parts = this.#parts;
    this.#requests -= parts[at]!;
    this.#failures -= parts[at + 1]!;
    this.#answers -= parts[at + 2]!;
    // Sums of fractions drift; without answers there is none to keep.
    this.#time = this.#answers === 0 ? 0 : this.#time - parts[at + 3]!;
    parts.fill(0, at, at + FIELDS);
  }
}
