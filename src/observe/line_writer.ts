/**
 * Writes lines in the background, with bounded memory: whoever logs never waits.
 *
 * Lines are gathered in chunks. When a disk or a pipe stalls and the chunks are used up, lines are dropped and
 * counted, and the count is written as soon as there is room again.
 *
 * @module
 */
import type { LineSink } from "./line_sink.ts";

const CHUNK_BYTES = 128 * 1024;
const LINE_FEED = 10;
const encoder = new TextEncoder();

/** Options of {@linkcode LineWriter}. */
export interface LineWriterOptions {
  readonly sink: LineSink;
  /** Bytes that may wait to be written. Default 1 MiB, least 256 KiB. */
  readonly maxBytes?: number;
  /** Bytes that are written at once when they have gathered. Default 64 KiB. */
  readonly flushBytes?: number;
  /** Milliseconds after which what has gathered is written. Default 1000; `0`: at once. */
  readonly flushInterval?: number;
  /** Makes the line that says how many were dropped. */
  readonly droppedLine: (dropped: number) => string;
  /** Called when the sink fails; once, until it has worked again. */
  readonly onError?: (error: unknown) => void;
}

interface Chunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  used: number;
  lines: number;
}

/** A bounded, buffered writer of ASCII lines. */
export class LineWriter {
  readonly #sink: LineSink;
  readonly #maxChunks: number;
  readonly #flushBytes: number;
  readonly #flushAtOnce: boolean;
  readonly #droppedLine: (dropped: number) => string;
  readonly #onError: (error: unknown) => void;
  readonly #full: Chunk[] = [];
  readonly #free: Chunk[] = [];
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #active: Chunk = newChunk();
  #chunks = 1;
  #dropped = 0;
  #droppedInAll = 0;
  #writing: Promise<void> | null = null;
  #reopen = false;
  #failing = false;
  #closed = false;

  constructor(options: LineWriterOptions) {
    this.#sink = options.sink;
    this.#maxChunks = Math.max(2, Math.floor((options.maxBytes ?? 1024 * 1024) / CHUNK_BYTES));
    this.#flushBytes = Math.min(options.flushBytes ?? 64 * 1024, CHUNK_BYTES);
    this.#droppedLine = options.droppedLine;
    this.#onError = options.onError ?? (() => {});
    const interval = options.flushInterval ?? 1000;
    this.#flushAtOnce = interval === 0;
    // Also after a failed write: what waits is tried again each second.
    this.#timer = setInterval(() => this.#start(), interval === 0 ? 1000 : interval);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Lines dropped since the start. */
  get dropped(): number {
    return this.#droppedInAll;
  }

  /**
   * Takes a line, or drops it when nothing more fits.
   *
   * @param line ASCII, without a newline.
   */
  write(line: string): void {
    if (this.#closed || !this.#reserve(line.length + 1)) {
      this.#drop(1);
      return;
    }
    if (this.#dropped > 0) this.#noteDropped(line.length + 1);
    this.#append(line);
    if (this.#flushAtOnce || this.#active.used >= this.#flushBytes) this.#start();
  }

  /** Writes what has gathered; resolves when it is written or has failed. */
  async flush(): Promise<void> {
    this.#start();
    while (this.#writing !== null) await this.#writing;
  }

  /** Opens the sink again before the next write, for log rotation. */
  async reopen(): Promise<void> {
    this.#reopen = true;
    // A write that is under way does not look again.
    await this.#writing;
    await this.flush();
  }

  /**
   * Writes what has gathered and closes the sink. Further lines are dropped.
   *
   * @param ms How long that may take. Default 2000.
   */
  async close(ms: number = 2000): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#timer);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    if (this.#dropped > 0 && this.#reserve(256)) this.#noteDropped(0);
    await Promise.race([this.flush(), late]);
    clearTimeout(timer);
    this.#closed = true;
    // A write that hangs holds the file; closing it now would not free it.
    if (this.#writing === null) this.#sink.close();
  }

  #append(line: string): void {
    const chunk = this.#active;
    // Lines are made of many pieces, which a Buffer would copy one character at a time.
    chunk.used += encoder.encodeInto(line, chunk.bytes.subarray(chunk.used)).written;
    chunk.bytes[chunk.used++] = LINE_FEED;
    chunk.lines++;
  }

  /** Makes sure that the active chunk has room. */
  #reserve(bytes: number): boolean {
    if (this.#active.used + bytes <= CHUNK_BYTES) return true;
    if (bytes > CHUNK_BYTES) return false;
    let next = this.#free.pop();
    if (next === undefined) {
      if (this.#chunks >= this.#maxChunks) return false;
      this.#chunks++;
      next = newChunk();
    }
    this.#full.push(this.#active);
    this.#active = next;
    this.#start();
    return true;
  }

  #noteDropped(bytesAfter: number): void {
    const line = this.#droppedLine(this.#dropped);
    if (this.#active.used + line.length + 1 + bytesAfter > CHUNK_BYTES) return;
    this.#dropped = 0;
    this.#append(line);
  }

  #drop(lines: number): void {
    this.#dropped += lines;
    this.#droppedInAll += lines;
  }

  #start(): void {
    if (this.#writing !== null || this.#closed) return;
    if (this.#active.used === 0 && this.#full.length === 0 && !this.#reopen) return;
    this.#writing = this.#drain().finally(() => {
      this.#writing = null;
    });
  }

  async #drain(): Promise<void> {
    if (this.#reopen) {
      this.#reopen = false;
      try {
        await this.#sink.reopen();
      } catch (error) {
        this.#fail(error);
      }
    }
    while (true) {
      let chunk = this.#full.shift();
      if (chunk === undefined) {
        if (this.#active.used === 0) return;
        chunk = this.#active;
        const next = this.#free.pop();
        if (next === undefined) this.#chunks++;
        this.#active = next ?? newChunk();
      }
      try {
        await this.#writeChunk(chunk);
        this.#failing = false;
      } catch (error) {
        this.#drop(chunk.lines);
        this.#fail(error);
        this.#recycle(chunk);
        return;
      }
      this.#recycle(chunk);
    }
  }

  async #writeChunk(chunk: Chunk): Promise<void> {
    const limit = this.#sink.atomicBytes;
    let from = 0;
    while (from < chunk.used) {
      let to = chunk.used;
      if (limit > 0 && to - from > limit) {
        // As many whole lines as stay together; at least one.
        const last = chunk.bytes.lastIndexOf(LINE_FEED, from + limit - 1);
        to = last >= from ? last + 1 : chunk.bytes.indexOf(LINE_FEED, from) + 1;
      }
      while (from < to) from += await this.#sink.write(chunk.bytes.subarray(from, to));
    }
  }

  #fail(error: unknown): void {
    if (this.#failing) return;
    this.#failing = true;
    this.#onError(error);
  }

  #recycle(chunk: Chunk): void {
    chunk.used = 0;
    chunk.lines = 0;
    if (this.#free.length < 2) this.#free.push(chunk);
    else this.#chunks--;
  }
}

function newChunk(): Chunk {
  return { bytes: new Uint8Array(CHUNK_BYTES), used: 0, lines: 0 };
}
