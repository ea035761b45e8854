/**
 * A channel through memory that two threads share: one ring each way, and a message port to ring at.
 *
 * Nobody waits in `Atomics.wait`: whatever a plugin does with timers, promises and the network goes on, and
 * what the main thread sends to it arrives. The port is rung only when the other side has nothing to do, so
 * under load it is hardly used; and an empty message is cheaper there than `Atomics.waitAsync` is. A caller whose
 * thread has a loop of its own is not rung at all while that loop runs: it looks into its ring in each turn.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { type Lookout, turnsOfThread } from "../base/turns.ts";
import { FrameChannel } from "./channel.ts";
import type { SnapshotDecoder } from "./codec.ts";
import { FrameReader } from "./frame_reader.ts";
import { ProtocolError } from "./protocol.ts";
import { makeRingMemory, resetRingMemory, RING_BYTES, RingReader, RingWriter } from "./ring.ts";

/** Rings at the port in a row that nothing came with, after which the other side is given up. */
const MAX_IDLE_RINGS = 10_000;

/** Rings at the port: something came, or there is room. */
const RING = 0;
/** The last thing that is said. */
const BYE = 1;

/** Memory for a channel; `null` where threads share none. */
export function makeChannelMemory(): SharedArrayBuffer | null {
  return makeRingMemory(2);
}

/** Makes the memory of a channel whose ends are both gone as good as new. */
export function resetChannelMemory(memory: SharedArrayBuffer): void {
  resetRingMemory(memory);
}

/** What a {@linkcode RingChannel} takes. */
export interface RingChannelOptions {
  readonly port: MessagePort;
  readonly memory: SharedArrayBuffer;
  /** Which of the two this is: the one that calls, or the one that is called. */
  readonly side: "caller" | "called";
  /** Bytes that one frame of the other side may have. */
  readonly most: number;
}

/** One end of a channel through shared memory. */
export class RingChannel extends FrameChannel implements Lookout {
  readonly #port: MessagePort;
  readonly #calls: boolean;
  readonly #ring: (what: number) => void;
  readonly #writer: RingWriter;
  readonly #incoming: RingReader;
  readonly #frames: FrameReader;
  readonly #again = (): void => this.#drain();
  /** Bytes at the beginning of `out` that are in the ring already. */
  #sent = 0;
  #crowded = false;
  /** Whether the other side was asked to ring. */
  #dozes = false;
  #idleRings = 0;

  /** @param snapshots As {@linkcode FrameReader} takes it. */
  constructor(options: RingChannelOptions, snapshots: SnapshotDecoder | null = null) {
    super();
    const { port, memory, side, most } = options;
    this.#port = port;
    this.#calls = side === "caller";
    this.#writer = new RingWriter(memory, side === "caller" ? 0 : 1);
    this.#incoming = new RingReader(memory, side === "caller" ? 1 : 0);
    this.#frames = new FrameReader(most, snapshots);
    // Taken now: code that shares this realm may replace what the prototype says later.
    this.#ring = port.postMessage.bind(port);
    port.onmessage = (event) => this.#rung(event.data);
    port.onmessageerror = () => this.fail("it rang with what cannot be read", true);
    // A caller that was ended says nothing. That a sandbox is gone, the host knows better, and why.
    if (!this.#calls) port.addEventListener("close", () => this.fail("the caller is gone", false));
    // What was written before this end was made has rung at nobody.
    setImmediate(this.#again);
    if (this.#calls) turnsOfThread.add(this);
  }

  get isDue(): boolean {
    return this.open && this.isAwaited();
  }

  look(): boolean {
    if (!this.open || !this.#incoming.hasCome) return false;
    this.#drain();
    return true;
  }

  mayWait(): boolean {
    return this.#dozes || !this.open || (this.#dozes = this.#incoming.sleep());
  }

  get backlog(): number {
    return this.out.position - this.#sent;
  }

  protected override flush(): void {
    const { out } = this;
    if (out.position === this.#sent || this.#crowded) return;
    // There will be an answer, and whoever looks for it in each turn need not be rung.
    if (this.#isLookedAfter) {
      if (this.#dozes) this.#rouse();
      turnsOfThread.isStirred = true;
    }
    try {
      do {
        this.#sent = this.#writer.write(out.bytes, this.#sent, out.position);
        if (this.#sent === out.position) {
          out.clear();
          this.#sent = 0;
        } else {
          this.#crowded = this.#writer.waitForRoom();
          if (this.#crowded) this.onFull();
        }
      } while (out.position > this.#sent && !this.#crowded);
    } catch (error) {
      return this.#broken(error);
    }
    if (this.#crowded && this.#sent > RING_BYTES) {
      out.drop(this.#sent);
      this.#sent = 0;
    }
    if (this.#writer.mustWake()) this.#ring(RING);
  }

  protected override release(): void {
    if (this.#calls) turnsOfThread.delete(this);
    this.#ring(BYE);
    this.#port.close();
  }

  get #isLookedAfter(): boolean {
    return this.#calls && turnsOfThread.coming;
  }

  #rouse(): void {
    this.#dozes = false;
    this.#incoming.wake();
  }

  #rung(what: unknown): void {
    if (!this.open) return;
    // A sandbox has no reason to: it goes with its thread.
    if (what === BYE) return this.fail("it closed the line", this.#calls);
    if (this.#crowded) {
      this.#crowded = false;
      this.flush();
    } else if (++this.#idleRings > MAX_IDLE_RINGS) {
      return this.fail("it rings without an end", true);
    }
    this.#drain();
  }

  /** Takes what is there, but no more in one turn than fits into the ring once: others want their turn, too. */
  #drain(): void {
    let taken = 0;
    if (this.#dozes) this.#rouse();
    try {
      while (this.open) {
        const length = this.#incoming.read(this.#frames.room());
        if (length > 0) {
          this.#idleRings = 0;
          taken += length;
          if (this.#incoming.mustWake()) this.#ring(RING);
          this.#frames.filled(length);
          this.#deliver();
          if (taken >= RING_BYTES) return void setImmediate(this.#again);
        } else if (this.#isLookedAfter) return;
        else if (this.#incoming.sleep()) {
          this.#dozes = this.#calls;
          return;
        }
      }
    } catch (error) {
      this.#broken(error);
    }
  }

  #deliver(): void {
    while (this.open) {
      const message = this.#frames.next();
      if (message === null) return;
      this.onMessage(message);
    }
  }

  #broken(error: unknown): void {
    if (!(error instanceof ProtocolError)) throw error;
    this.fail(error.message, true);
  }
}
