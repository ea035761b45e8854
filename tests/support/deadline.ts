/** A deadline for whatever a test waits for, so that a defect is a failure and never a hang. */

/**
 * How long tests wait, in milliseconds, for what takes no time at all on an idle machine: long enough for one that
 * stands still for seconds, because whoever waits in vain fails anyway.
 */
export const DEADLINE = 30_000;

/**
 * Waits for `work`, but no longer than `ms` milliseconds.
 *
 * @param what What is waited for, for the message; called only when it did not come.
 * @throws {Error} If it does not come in time.
 */
export async function withDeadline<T>(
  work: Promise<T>,
  ms: number,
  what: string | (() => string),
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`Waited ${ms} ms for ${typeof what === "string" ? what : what()}`));
    }, Math.max(0, ms));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until `done` holds, looking every few milliseconds: for what tells nobody when it changes. */
export async function eventually(
  done: () => boolean | Promise<boolean>,
  what: string | (() => string),
  ms: number = DEADLINE,
): Promise<void> {
  const end = Date.now() + ms;
  while (!(await done())) {
    if (Date.now() > end) {
      throw new Error(`Waited ${ms} ms for ${typeof what === "string" ? what : what()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
