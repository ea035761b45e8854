/**
 * A DNS server for tests: answers A, AAAA and SRV questions over UDP from a table that may be changed meanwhile.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createSocket, type Socket } from "node:dgram";

/** What is known of one name and type. */
export type Zone = Record<string, Answer>;

/** Records, or how the question is not answered. */
export type Answer =
  | { readonly ttl: number; readonly a: readonly string[] }
  | { readonly ttl: number; readonly aaaa: readonly string[] }
  | { readonly ttl: number; readonly srv: readonly (readonly [number, number, number, string])[] }
  | "no such name"
  | "no data"
  | "server failure"
  | "silence";

const TYPES: Readonly<Record<number, string>> = { 1: "A", 28: "AAAA", 33: "SRV" };
const CODES: Readonly<Record<string, number>> = { "no such name": 3, "server failure": 2 };

/** A running server. */
export class DnsServer implements AsyncDisposable {
  /** `A name` and so on to its answer; what is not there does not exist. */
  readonly zone: Zone;
  /** Questions so far, as `A name`. */
  readonly questions: string[] = [];
  readonly #socket: Socket;

  private constructor(socket: Socket, zone: Zone) {
    this.#socket = socket;
    this.zone = zone;
    socket.on("message", (message, from) => {
      const reply = this.#answer(Buffer.from(message));
      if (reply !== null) socket.send(reply, from.port, from.address);
    });
  }

  static async start(zone: Zone): Promise<DnsServer> {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    return new DnsServer(socket, zone);
  }

  /** `127.0.0.1:port`. */
  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }

  #answer(message: Buffer): Buffer | null {
    const labels: string[] = [];
    let at = 12;
    for (let length = message[at]!; length > 0; length = message[at]!) {
      labels.push(message.toString("latin1", at + 1, at + 1 + length));
      at += length + 1;
    }
    const type = message.readUInt16BE(at + 1);
    const question = `${TYPES[type] ?? type} ${labels.join(".").toLowerCase()}`;
    this.questions.push(question);
    const answer = this.zone[question] ?? "no such name";
    if (answer === "silence") return null;
    const records = typeof answer === "string" ? [] : encode(answer, type);
    const head = Buffer.alloc(12);
    message.copy(head, 0, 0, 2);
    head.writeUInt16BE(0x8580 | (typeof answer === "string" ? CODES[answer] ?? 0 : 0), 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(records.length, 6);
    return Buffer.concat([head, message.subarray(12, at + 5), ...records]);
  }
}

function encode(answer: Exclude<Answer, string>, type: number): Buffer[] {
  const datas = "a" in answer
    ? answer.a.map((one) => Buffer.from(one.split(".").map(Number)))
    : "aaaa" in answer
    ? answer.aaaa.map(bytesOfIpv6)
    : answer.srv.map(([priority, weight, port, target]) => {
      const data = Buffer.alloc(6);
      data.writeUInt16BE(priority, 0);
      data.writeUInt16BE(weight, 2);
      data.writeUInt16BE(port, 4);
      const labels = target === "." ? [] : target.split(".");
      const name = labels.map((one) => Buffer.concat([Buffer.of(one.length), Buffer.from(one)]));
      return Buffer.concat([data, ...name, Buffer.of(0)]);
    });
  return datas.map((data) => {
    const head = Buffer.alloc(12);
    head.writeUInt16BE(0xc00c, 0);
    head.writeUInt16BE(type, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt32BE(answer.ttl, 6);
    head.writeUInt16BE(data.length, 10);
    return Buffer.concat([head, data]);
  });
}

/** Reads `fd00::1` and the like: one `::`, groups of hexadecimal digits. */
function bytesOfIpv6(text: string): Buffer {
  const [left, right] = text.split("::").map((half) => half === "" ? [] : half.split(":"));
  const middle = new Array(8 - left!.length - right!.length).fill("0");
  const bytes = Buffer.alloc(16);
  for (const [i, group] of [...left!, ...middle, ...right!].entries()) {
    bytes.writeUInt16BE(parseInt(group, 16), i * 2);
  }
  return bytes;
}
