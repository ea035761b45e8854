/**
 * A channel over a message port, for threads that share no memory.
 *
 * @module
 */
import { FrameChannel } from "./channel.ts";
import type { SnapshotDecoder } from "./codec.ts";
import { FrameReader } from "./frame_reader.ts";
import { ProtocolError } from "./protocol.ts";
import { isBytes } from "./values.ts";

/** A channel that posts the frames of one turn as one message. */
export class PortChannel extends FrameChannel {
  readonly #port: MessagePort;
  readonly #post: (bytes: Uint8Array, move: ArrayBuffer[]) => void;
  readonly #reader: FrameReader;

  /**
   * @param most Bytes that one frame of the other side may have.
   * @param snapshots As {@linkcode FrameReader} takes it.
   */
  constructor(port: MessagePort, most: number, snapshots: SnapshotDecoder | null = null) {
    super();
    this.#port = port;
    this.#reader = new FrameReader(most, snapshots);
    // Taken now: code that shares this realm may replace what the prototype says later.
    this.#post = port.postMessage.bind(port) as never;
    port.onmessage = (event) => this.#receive(event.data);
    port.onmessageerror = () => this.fail("it sent what cannot be read", true);
  }

  get backlog(): number {
    return 0;
  }

  protected override flush(): void {
    const { position } = this.out;
    if (position === 0) return;
    const bytes = this.out.bytes.slice(0, position);
    this.out.clear();
    this.#post(bytes, [bytes.buffer]);
  }

  protected override release(): void {
    this.#port.close();
  }

  #receive(data: unknown): void {
    if (!isBytes(data) || data.length === 0) return this.fail("it sent no bytes", true);
    try {
      this.#reader.feed(data);
      while (this.open) {
        const message = this.#reader.next();
        if (message === null) return;
        this.onMessage(message);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.fail(error.message, true);
    }
  }
}
