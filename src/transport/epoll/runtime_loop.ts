/**
 * Finds the descriptor by which the runtime waits for the events of a thread.
 *
 * It is not told by anything. But what the runtime waits for can be seen in `/proc`: a descriptor that was made for
 * this, and given to the runtime to watch, shows who watches it.
 *
 * @module
 */
import process from "node:process";
import type { SystemCalls } from "./system_calls.ts";

const CLOSE_ON_EXEC = 0o2000000;
const NON_BLOCKING = 0o4000;
/** Descriptors that are looked at: that of a thread is among the first that are opened after its start. */
const MOST = 16_384;

interface Pipe {
  open(descriptor: number): number;
  close(): void;
}

/** The descriptor, or `null` if this runtime keeps it to itself. */
export function runtimeLoop(calls: SystemCalls): number | null {
  const { binding } = process as unknown as { binding?: (name: string) => Record<string, unknown> };
  if (typeof binding !== "function") return null;
  const mark = calls.eventfd(0, CLOSE_ON_EXEC | NON_BLOCKING);
  if (mark < 0) return null;
  let pipe: Pipe | null = null;
  try {
    const { Pipe: make, constants } = binding("pipe_wrap") as {
      Pipe: new (type: number) => Pipe;
      constants: { SOCKET: number };
    };
    pipe = new make(constants.SOCKET);
    return pipe.open(mark) === 0 ? watcherOf(calls, mark) : null;
  } catch {
    // It has no such handles, or others than expected.
    return null;
  } finally {
    // A handle closes what it was given.
    if (pipe === null) calls.close(mark);
    else pipe.close();
  }
}

function watcherOf(calls: SystemCalls, mark: number): number | null {
  const wanted = new RegExp(`^tfd:\\s+${mark}\\s`, "m");
  const bytes = new Uint8Array(64 * 1024);
  const decoder = new TextDecoder();
  for (let descriptor = 0, missing = 0; descriptor < MOST && missing < 1024; descriptor++) {
    const path = new TextEncoder().encode(`/proc/self/fdinfo/${descriptor}\0`);
    const file = calls.open(path, CLOSE_ON_EXEC);
    if (file < 0) {
      missing++;
      continue;
    }
    missing = 0;
    const length = calls.read(file, bytes, bytes.length);
    calls.close(file);
    if (length > 0 && wanted.test(decoder.decode(bytes.subarray(0, length)))) return descriptor;
  }
  return null;
}
