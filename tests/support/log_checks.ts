/**
 * What the access log has to say of each request, looked at once in the end: the log is written about once a second.
 *
 * @module
 */
import type { AccessLine, Sluice } from "./sluice.ts";

type Check = ((line: AccessLine) => void) | null;

/** Checks for the lines of the log, in the order of the requests. */
export class LogChecks {
  readonly #checks: [name: string, check: Check][] = [];

  /** The next request was made; `check` is for its line. */
  add(name: string, check: Check = null): void {
    this.#checks.push([name, check]);
  }

  /** Waits for all lines and checks them. */
  async verify(sluice: Sluice): Promise<void> {
    const lines = await sluice.waitForAccessLog(this.#checks.length);
    if (lines.length > this.#checks.length) throw new Error(`${lines.length} lines in the log`);
    for (const [i, [name, check]] of this.#checks.entries()) {
      try {
        check?.(lines[i]!);
      } catch (cause) {
        throw new Error(`${name}: ${JSON.stringify(lines[i])}`, { cause });
      }
    }
  }
}
