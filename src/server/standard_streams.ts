/**
 * The standard streams of a process that goes on without those who read them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { openLibc } from "../transport/libc.ts";

const SYMBOLS = {
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  dup3: { parameters: ["i32", "i32", "i32"], result: "i32" },
  dup2: { parameters: ["i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

/** Of Linux on every machine that the runtime is built for. */
const O_WRONLY = 0o1;
const O_RDWR = 0o2;
const O_CREAT = 0o100;
const O_APPEND = 0o2000;
const O_CLOEXEC = 0o2000000;

/**
 * Lets standard output and standard error end in a file, or in nothing. Standard input is nothing already.
 *
 * @param file What is appended to; `null`: nothing.
 * @throws {Error} If that cannot be done.
 */
export function releaseStreams(file: string | null): void {
  const libc = openLibc(SYMBOLS);
  if (libc === null) throw new Error("standard streams cannot be let go of without --allow-ffi");
  const { open, dup2, dup3, close } = libc.symbols;
  try {
    const descriptor = file === null
      ? open(Buffer.from("/dev/null\0"), O_RDWR | O_CLOEXEC, 0)
      : open(Buffer.from(`${file}\0`), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640);
    if (descriptor < 0) throw new Error(`${file ?? "/dev/null"} cannot be opened`);
    // The pipes of whoever started us have more numbers than these two: each thread of the runtime has copies.
    const pipes = new Set([linkOf("1"), linkOf("2")]);
    pipes.delete(null);
    for (const stream of [1, 2]) {
      if (dup2(descriptor, stream) < 0) throw new Error("standard streams cannot be let go of");
    }
    for (const { name } of [...Deno.readDirSync("/proc/self/fd")]) {
      if (pipes.has(linkOf(name))) dup3(descriptor, Number(name), O_CLOEXEC);
    }
    close(descriptor);
  } finally {
    libc.close();
  }
}

/** What a descriptor leads to, if it is a pipe. */
function linkOf(descriptor: string): string | null {
  try {
    const link = Deno.readLinkSync(`/proc/self/fd/${descriptor}`);
    return link.startsWith("pipe:") ? link : null;
  } catch {
    // It was closed meanwhile.
    return null;
  }
}
