/**
 * The two messages of `grpc.health.v1.Health/Check` and the frame that a gRPC message comes in.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** What a server says of a service (`HealthCheckResponse.ServingStatus`), by number. */
export const SERVING_STATUSES = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"] as const;

/** One of {@linkcode SERVING_STATUSES}. */
export type ServingStatus = typeof SERVING_STATUSES[number];

/** Longest name of a service, in bytes of UTF-8. */
export const MAX_SERVICE_BYTES = 1024;
/** Longest answer that is read; a `HealthCheckResponse` has two bytes. */
export const MAX_ANSWER_BYTES = 1024;

const FRAME_BYTES = 5;
const SERVICE_TAG = 1 << 3 | 2;
const STATUS_FIELD = 1;

/** A message that is not what it should be. */
export class GrpcFormatError extends Error {
  override readonly name: string = "GrpcFormatError";
}

/** `HealthCheckRequest`, in its frame: not compressed, length, message. */
export function encodeCheckRequest(service: string): Uint8Array {
  const name = Buffer.from(service, "utf8");
  const message = name.length === 0 ? [] : [SERVICE_TAG, ...varint(name.length), ...name];
  const frame = Buffer.alloc(FRAME_BYTES + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, FRAME_BYTES);
  return frame;
}

/**
 * Reads the content of the answer to a unary call: exactly one frame with one `HealthCheckResponse`.
 *
 * Fields that are not known are skipped, as protobuf wants it; of a field that comes more than once the last counts.
 *
 * @throws {GrpcFormatError} If it is anything else.
 */
export function decodeCheckResponse(content: Uint8Array): ServingStatus {
  if (content.length < FRAME_BYTES) throw new GrpcFormatError("the answer holds no message");
  if (content[0] !== 0) throw new GrpcFormatError("the message is compressed, unasked");
  const length = new DataView(content.buffer, content.byteOffset).getUint32(1);
  if (length !== content.length - FRAME_BYTES) {
    throw new GrpcFormatError("the answer is not exactly one message");
  }
  const reader = new Reader(content, FRAME_BYTES);
  // What is left out has its default, which is 0.
  let status = 0;
  while (!reader.done) {
    const tag = reader.varint();
    const field = Math.floor(tag / 8);
    const wire = tag % 8;
    if (field === STATUS_FIELD && wire === 0) status = reader.varint();
    else reader.skip(field, wire);
  }
  const name = SERVING_STATUSES[status];
  if (name === undefined) throw new GrpcFormatError(`the status ${status} is not known`);
  return name;
}

/** The text of `grpc-message`, whose percent-encoding is undone where it is one. */
export function grpcMessage(value: string | null): string {
  if (value === null) return "";
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** A number of up to 64 bits; beyond 2^53 it is not exact, which nothing here needs. */
  varint(): number {
    let value = 0;
    for (let i = 0; i < 10; i++) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new GrpcFormatError("the message ends inside a number");
      value += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) return value;
    }
    throw new GrpcFormatError("a number has more than ten bytes");
  }

  skip(field: number, wire: number): void {
    if (field === 0) throw new GrpcFormatError("a field has the number 0");
    if (wire === 0) this.varint();
    else if (wire === 1) this.#advance(8);
    else if (wire === 2) this.#advance(this.varint());
    else if (wire === 5) this.#advance(4);
    else throw new GrpcFormatError(`a field is of wire type ${wire}`);
  }

  #advance(bytes: number): void {
    this.#at += bytes;
    if (this.#at > this.#bytes.length) throw new GrpcFormatError("the message ends inside a field");
  }
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 127; value >>>= 7) bytes.push(value & 127 | 128);
  bytes.push(value);
  return bytes;
}
