/**
 * Clients that connect anew all the time, and count whatever is not an answer.
 *
 * @module
 */
import tls from "node:tls";
import * as c from "../../src/http2/constants.ts";
import { readResponse } from "./http_text.ts";
import { get, RawClient } from "./raw_client.ts";
import { frame, RawHttp2, settings, statusOf } from "./raw_http2.ts";
import { Wire } from "./wire.ts";

/** How a client speaks. */
export type Speech = "h1" | "h2c" | "https" | "h2";

const SPEECHES: readonly Speech[] = ["h1", "h2c", "https", "h2"];
const PATH = "/bytes/100";

/** A load that runs until it is stopped. */
export interface ConnectLoad {
  /** Answers so far, by how they were asked for. */
  readonly answered: Readonly<Record<Speech, number>>;
  /** What went wrong: one line for each refused connection, reset, or other answer. */
  readonly failures: readonly string[];
  /** Resolves when every kind of client has had `count` more answers. */
  more(count: number): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Begins to connect, for one request per connection.
 *
 * @param clear Port of a listener without TLS, for `h1` and `h2c`.
 * @param secure Port of one with TLS, for `https` and `h2`.
 * @param clients Of each kind.
 */
export function connectLoad(clear: number, secure: number, clients: number): ConnectLoad {
  const answered = { h1: 0, h2c: 0, https: 0, h2: 0 };
  const failures: string[] = [];
  let over = false;
  let wake = () => {};
  const ask: Record<Speech, () => Promise<string>> = {
    async h1() {
      await using client = await RawClient.connect(clear);
      return String((await client.request(get(PATH))).status);
    },
    async h2c() {
      await using client = await RawHttp2.connect(clear);
      return statusOf(await client.get(PATH));
    },
    async https() {
      await using wire = await connectTls(secure, "http/1.1");
      await wire.send(get(PATH));
      return String((await readResponse(wire, "GET")).status);
    },
    async h2() {
      await using client = new RawHttp2(await connectTls(secure, "h2"), {});
      await client.send(c.PREFACE, frame(c.SETTINGS, 0, 0, settings()));
      return statusOf(await client.get(PATH));
    },
  };
  const run = async (speech: Speech) => {
    while (!over) {
      try {
        const status = await ask[speech]();
        if (status !== "200") failures.push(`${speech}: status ${status}`);
      } catch (error) {
        failures.push(`${speech}: ${(error as Error).message}`);
      }
      answered[speech]++;
      wake();
    }
  };
  const running = SPEECHES.flatMap((speech) => Array.from({ length: clients }, () => run(speech)));
  return {
    answered,
    failures,
    async more(count) {
      const goal = SPEECHES.map((speech) => [speech, answered[speech] + count] as const);
      while (goal.some(([speech, least]) => answered[speech] < least)) {
        await new Promise<void>((resolve) => wake = resolve);
      }
    },
    async stop() {
      over = true;
      await Promise.all(running);
    },
  };
}

async function connectTls(port: number, protocol: string): Promise<Wire> {
  const socket = tls.connect({
    host: "127.0.0.1",
    port,
    ALPNProtocols: [protocol],
    rejectUnauthorized: false,
  });
  await new Promise<void>((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed before the handshake was done")));
  });
  return new Wire(socket);
}
