/**
 * A descriptor on its way to another thread.
 *
 * The message that brings it may never be read: its receiver can be ended at any moment. Then the sender has to close
 * it, which it may only do if the receiver has not used it up, and never will. So both ask for it first, and one gets
 * it.
 *
 * @module
 */

/** A descriptor that two threads know, one of which is to use it up. It can be posted. */
export interface Loan {
  readonly descriptor: number;
  /** Shared: whether somebody has it. */
  readonly claimed: Int32Array<SharedArrayBuffer>;
}

/** Makes a descriptor ready to be sent. */
export function loan(descriptor: number): Loan {
  const { BYTES_PER_ELEMENT } = Int32Array;
  return { descriptor, claimed: new Int32Array(new SharedArrayBuffer(BYTES_PER_ELEMENT)) };
}

/**
 * Asks for the descriptor.
 *
 * @returns Whether the caller has it, and nobody else: it has to close it, or give it to what does.
 */
export function claim({ claimed }: Loan): boolean {
  return Atomics.compareExchange(claimed, 0, 0, 1) === 0;
}

/** Whether somebody has it. */
export function isClaimed({ claimed }: Loan): boolean {
  return Atomics.load(claimed, 0) !== 0;
}
