/** Upstreams that send at random: whatever they send, every request comes to an end, and nothing of them is left. */
import { equal, ok } from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { withDeadline } from "../support/deadline.ts";
import {
  F,
  Http2Origin,
  type Http2OriginConnection,
  makeFrame,
  type OriginRequest,
} from "../support/http2_origin.ts";
import { bytes, content, finalHead, h2cPeer, head, send } from "./http2_use.ts";
import { Use } from "./real_upstream.ts";

/** A generator that gives the same numbers for the same seed. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** A whole number below `limit`. */
  below(limit: number): number {
    // xorshift32.
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % limit;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  pick<T>(...from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
}

/** A frame that is likely to be understood, or nearly. */
function plausible(random: Random, { connection, stream }: OriginRequest): Uint8Array {
  const other = random.pick(stream, stream, stream, stream + 2, 1, 0, 2, random.below(50));
  const flags = random.pick(0, 1, 4, 5, 8, 0x20, random.below(256));
  switch (random.below(10)) {
    case 0:
      return makeFrame(
        F.HEADERS,
        4 | random.below(2),
        other,
        connection.block([[":status", "200"]]),
      );
    case 1:
      return makeFrame(F.HEADERS, 4, other, connection.block([[":status", "103"], ["a", "b"]]));
    case 2:
      return makeFrame(F.DATA, flags, other, random.bytes(random.below(2_000)));
    case 3:
      return makeFrame(F.HEADERS, flags, other, random.bytes(random.below(60)));
    case 4:
      return makeFrame(F.RST_STREAM, 0, other, Uint8Array.of(0, 0, 0, random.below(16)));
    case 5:
      return makeFrame(F.SETTINGS, 0, 0, Uint8Array.of(0, random.below(9), ...random.bytes(4)));
    case 6:
      return makeFrame(F.PING, random.below(2), 0, random.bytes(8));
    case 7:
      return makeFrame(F.WINDOW_UPDATE, 0, random.pick(0, other), random.bytes(4));
    case 8:
      return random.below(4) === 0
        ? makeFrame(F.GOAWAY, 0, 0, Uint8Array.of(0, 0, 0, random.below(9), 0, 0, 0, 0))
        : makeFrame(F.CONTINUATION, flags, other, random.bytes(5));
    default:
      return makeFrame(random.below(256), flags, other, random.bytes(random.below(40)));
  }
}

/**
 * Lets one random upstream answer, and gives what became of the requests.
 *
 * @param patience How long it may be silent, in milliseconds.
 */
async function ordeal(seed: number, wild: boolean, patience: number): Promise<string[]> {
  const random = new Random(seed);
  const attack = async (request: OriginRequest) => {
    const { connection } = request;
    const frames = 1 + random.below(30);
    for (let i = 0; i < frames; i++) {
      const frame = wild ? random.bytes(1 + random.below(300)) : plausible(random, request);
      const cut = random.below(5) === 0 ? random.below(frame.length) : 0;
      // Cut anywhere, as a network may.
      if (cut > 0) await connection.write(frame.subarray(0, cut));
      await connection.write(frame.subarray(cut));
    }
    if (random.below(3) === 0) connection.close();
  };
  await using origin = new Http2Origin({ onRequest: attack });
  await using use = new Use();
  const limits = {
    firstByteTimeout: patience,
    readTimeout: patience,
    writeTimeout: patience,
    maxConnections: 3,
  };
  const peer = h2cPeer(origin, { pingTimeout: patience, settingsTimeout: 2 * patience }, limits);
  const outcomes = await Promise.all([0, 1, 2, 3].map(async (i) => {
    try {
      const session = await use.session(peer);
      try {
        if (i % 2 === 0) await send(session);
        else {
          await send(session, head("POST"), { kind: "length", length: 30_000 });
          await session.writeBody(bytes(30_000), true);
        }
        await finalHead(session);
        await content(session);
        return "answered";
      } finally {
        session.abort();
      }
    } catch (error) {
      ok(error instanceof ProxyError, `${seed}: ${error}`);
      ok(error.type !== "internal_error", `${seed}: ${error.explain()}`);
      return error.type;
    }
  }));
  const { active, streams, connecting, pending } = use.connector.stats();
  equal(`${active > 3} ${streams} ${connecting} ${pending}`, "false 0 0 0", String(seed));
  return outcomes;
}

for (const wild of [false, true]) {
  Deno.test(`frames at random harm nobody (${wild ? "bytes" : "nearly right"})`, async () => {
    const faults: unknown[] = [];
    const onError = (event: ErrorEvent) => {
      event.preventDefault();
      faults.push(event.error);
    };
    globalThis.addEventListener("error", onError);
    try {
      const first = Number(Deno.env.get("FUZZ_SEED") ?? 1);
      const rounds = Number(Deno.env.get("FUZZ_ROUNDS") ?? 120);
      const counts = new Map<string, number>();
      // Random bytes are a fault at once; what is nearly right gets further, to more than one kind of end.
      const shown = () => counts.has("invalid_response") && (wild || counts.size > 3);
      // On a machine that is too slow for the first of them, time is all that runs out.
      for (const patience of [120, 1_000, 8_000]) {
        for (let at = 0; at < rounds; at += 20) {
          const seeds = Array.from({ length: 20 }, (_, i) => (first + at + i) * 2_654_435_761);
          const all = await withDeadline(
            Promise.all(seeds.map((seed) => ordeal(seed, wild, patience))),
            120_000,
            `seeds from ${first + at}`,
          );
          for (const outcome of all.flat()) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
        }
        if (shown()) break;
      }
      ok(shown(), JSON.stringify([...counts]));
      equal(faults.length, 0, String(faults[0]));
    } finally {
      globalThis.removeEventListener("error", onError);
    }
  });
}

Deno.test("a response cut at every byte and spread over many reads is the same response", async () => {
  const whole = (connection: Http2OriginConnection, stream: number): Uint8Array => {
    const headers = connection.block([[":status", "200"], ["content-length", "10"], ["x-a", "b"]]);
    const trailers = connection.block([["x-sum", "10"]]);
    const frames = [
      makeFrame(F.HEADERS, 0, stream, headers.subarray(0, 3)),
      makeFrame(F.CONTINUATION, 4, stream, headers.subarray(3)),
      makeFrame(F.DATA, 8, stream, Uint8Array.of(2, ...bytes(4), 0, 0)),
      makeFrame(F.DATA, 0, stream, bytes(6)),
      makeFrame(F.HEADERS, 5, stream, trailers),
    ];
    return Uint8Array.from(frames.flatMap((frame) => [...frame]));
  };
  await using origin = new Http2Origin({
    async onRequest({ connection, stream }) {
      const all = whole(connection, stream);
      const cut = (stream - 1) / 2 % all.length;
      await connection.write(all.subarray(0, cut));
      await new Promise((resolve) => setTimeout(resolve, 1));
      await connection.write(all.subarray(cut));
    },
  });
  await using use = new Use();
  const peer = h2cPeer(origin);
  for (let i = 0; i < 110; i++) {
    const session = await use.session(peer);
    await send(session);
    const { status, fields } = await finalHead(session);
    const body = await content(session);
    equal(
      `${status} ${fields.get("x-a")} ${body.join()} ${session.trailers?.get("x-sum")}`,
      `200 b ${[...bytes(4), ...bytes(6)].join()} 10`,
      `cut at ${i}`,
    );
    session.release();
  }
  equal(origin.connections.length, 1);
});
