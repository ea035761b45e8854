/**
 * A plugin in a sandbox, with both ends in one thread: all that is done for a call except for waking threads.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { TimerWheel } from "../../src/base/timer_wheel.ts";
import { compilePlan, type Plan } from "../../src/proxy/plan.ts";
import { FrameChannel } from "../../src/sandbox/channel.ts";
import type { SnapshotDecoder } from "../../src/sandbox/codec.ts";
import type { SandboxMessage } from "../../src/sandbox/control.ts";
import { FrameReader } from "../../src/sandbox/frame_reader.ts";
import { Link } from "../../src/sandbox/link.ts";
import { MAX_FRAME_FROM_SANDBOX, MAX_FRAME_TO_SANDBOX } from "../../src/sandbox/protocol.ts";
import { RemoteHandler } from "../../src/sandbox/remote_handler.ts";
import { makeRingMemory, RingReader, RingWriter } from "../../src/sandbox/ring.ts";
import { Runtime } from "../../src/sandbox/runtime.ts";
import { snapshotReader } from "../../src/sandbox/snapshot.ts";

/** An end of a channel whose other end reads as soon as something is sent. */
class NearEnd extends FrameChannel {
  readonly #writer: RingWriter;
  readonly #incoming: RingReader;
  readonly #frames: FrameReader;
  other: NearEnd | null = null;

  constructor(
    memory: SharedArrayBuffer,
    side: 0 | 1,
    most: number,
    snapshots: SnapshotDecoder | null,
  ) {
    super();
    this.#writer = new RingWriter(memory, side);
    this.#incoming = new RingReader(memory, 1 - side);
    this.#frames = new FrameReader(most, snapshots);
  }

  readonly backlog = 0;

  protected override flush(): void {
    const { out } = this;
    for (let sent = 0; sent < out.position; this.other!.#read()) {
      sent = this.#writer.write(out.bytes, sent, out.position);
    }
    out.clear();
  }

  protected override release(): void {}

  #read(): void {
    for (;;) {
      const length = this.#incoming.read(this.#frames.room());
      if (length === 0) return;
      this.#frames.filled(length);
      for (;;) {
        const message = this.#frames.next();
        if (message === null) break;
        this.onMessage(message);
      }
    }
  }
}

/** The plan of a route with one plugin, which has a request hook and a response hook. */
export async function nearPlugin(wheel: TimerWheel): Promise<Plan> {
  const ready = Promise.withResolvers<void>();
  const runtime = new Runtime({
    send(message: SandboxMessage) {
      if (message[0] === "loaded") ready.resolve();
      else ready.reject(new Error(JSON.stringify(message)));
    },
    channel() {
      throw new Error("there is only one");
    },
    externalMemory: () => 0,
  });
  const file = fileURLToPath(new URL("./fixtures/two_hooks.ts", import.meta.url));
  runtime.handle(["load", { file, directory: "", name: "near", configs: [{}] }]);
  await ready.promise;
  const memory = makeRingMemory(2)!;
  const caller = new NearEnd(memory, 0, MAX_FRAME_FROM_SANDBOX, null);
  const called = new NearEnd(memory, 1, MAX_FRAME_TO_SANDBOX, snapshotReader());
  caller.other = called;
  called.other = caller;
  runtime.serve(called);
  const fail = (reason: string) => {
    throw new Error(reason);
  };
  const listener = { late() {}, foul: fail, full() {}, drained() {} };
  const phases = ["upstreamRequestFilter", "responseFilter"] as const;
  const plugin = {
    facts: {
      name: "near",
      isolation: "worker",
      phases,
      match: null,
      matchHooks: {},
      failOpen: false,
      timeout: null,
      concurrency: 1000,
      uses: 1,
      inline: null,
      tickInterval: 0,
      lateTimeout: 1000,
    },
    link: new Link("near", caller, wheel, 1000, listener, true),
    reason: "",
    phases: new Set(phases),
  } as const;
  return compilePlan([{ handler: new RemoteHandler(plugin, 0), when: null }]);
}
