/**
 * A WebSocket through the proxy, as far as tests need one.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { RawResponse } from "./http_text.ts";
import { get, RawClient, type Target } from "./raw_client.ts";
import { readFrame } from "./simple_origin.ts";
import { bytes, latin1 } from "./wire.ts";

/** A frame as clients send it: masked. At most 125 bytes. */
function clientFrame(payload: string): Uint8Array {
  const mask = [0x12, 0x34, 0x56, 0x78];
  const data = bytes(payload).map((byte, i) => byte ^ mask[i & 3]!);
  return new Uint8Array([0x81, 0x80 | data.length, ...mask, ...data]);
}

/** An open WebSocket to `/websocket` of the simple origin, which echoes. */
export class EchoSocket implements AsyncDisposable {
  /** The answer that opened it. */
  readonly answer: RawResponse;
  readonly #client: RawClient;

  private constructor(client: RawClient, answer: RawResponse) {
    this.#client = client;
    this.answer = answer;
  }

  /** Opens one. */
  static async open(to: Target): Promise<EchoSocket> {
    const client = await RawClient.connect(to);
    const answer = await client.request(get("/websocket", {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Version": "13",
    }));
    assert.equal(answer.status, 101);
    return new EchoSocket(client, answer);
  }

  /** Sends a text and checks that it comes back. */
  async echo(text: string): Promise<void> {
    await this.#client.send(clientFrame(text));
    const { payload } = await readFrame(this.#client);
    assert.equal(latin1(payload), text);
  }

  /** Waits until the other side has ended it. */
  async whenEnded(ms?: number): Promise<void> {
    await this.#client.whenEnded(ms);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }
}
