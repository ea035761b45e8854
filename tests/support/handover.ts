/**
 * Upgrading a running program: the process that takes over, and its end.
 *
 * @module
 */
import { DEADLINE, eventually } from "./deadline.ts";
import type { Sluice } from "./sluice.ts";

/** Whether a process is there. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

/** A process that has taken over from one that a test has started. Killed when it is disposed of. */
export class Successor implements AsyncDisposable {
  readonly pid: number;

  constructor(pid: number) {
    this.pid = pid;
  }

  signal(signal: Deno.Signal): void {
    if (isAlive(this.pid)) Deno.kill(this.pid, signal);
  }

  /** Waits until it has ended. */
  async whenEnded(ms: number = DEADLINE): Promise<void> {
    await eventually(() => !isAlive(this.pid), `the end of process ${this.pid}`, ms);
  }

  /** Sends SIGTERM and waits for the end. */
  async stop(): Promise<void> {
    this.signal("SIGTERM");
    await this.whenEnded();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    await this.whenEnded();
  }
}

const BEGUN = /Process (\d+) is to take over/g;

/** Sends SIGQUIT, to the program or to who has taken over from it, and waits until another process serves. */
export async function upgrade(sluice: Sluice, from: number = sluice.pid): Promise<Successor> {
  const before = [...sluice.stderr().matchAll(BEGUN)].length;
  Deno.kill(from, "SIGQUIT");
  let pid = 0;
  await eventually(
    () => {
      pid = Number([...sluice.stderr().matchAll(BEGUN)][before]?.[1] ?? 0);
      return pid > 0 && sluice.stderr().includes(`Draining: process ${pid} serves in its place`);
    },
    `another process to serve:\n${sluice.stderr()}`,
    120_000,
  );
  return new Successor(pid);
}
