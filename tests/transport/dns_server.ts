/**
 * A name server of a few lines, over UDP on a port of its own.
 *
 * @module
 */

/** What is answered to one question. */
export type DnsAnswer =
  /** Nothing at all. */
  | { readonly silent: true }
  /** A code: 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED; 0 with no record: the name has none of the type. */
  | { readonly code: number }
  | { readonly ttl: number; readonly records: readonly string[] }
  | {
    readonly ttl: number;
    readonly targets: readonly { priority: number; weight: number; port: number; name: string }[];
  };

const TYPES: Readonly<Record<number, string>> = { 1: "A", 28: "AAAA", 33: "SRV" };

/** Answers from a zone that a test may change at any time; what is not in it does not exist. */
export class DnsServer {
  /** By `name type`, such as `a.test A`. */
  readonly zone = new Map<string, DnsAnswer>();
  /** What was asked, in order. */
  readonly asked: string[] = [];
  /** Called with each question. */
  onQuestion: ((question: string) => void) | null = null;
  readonly #socket: Deno.DatagramConn;
  readonly #serving: Promise<void>;

  constructor() {
    this.#socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    this.#serving = this.#serve();
  }

  /** As name server lists want it. */
  get address(): string {
    return `127.0.0.1:${(this.#socket.addr as Deno.NetAddr).port}`;
  }

  /** How often a question was asked. */
  count(question: string): number {
    return this.asked.filter((one) => one === question).length;
  }

  async #serve(): Promise<void> {
    for (;;) {
      let query: Uint8Array;
      let from: Deno.Addr;
      try {
        [query, from] = await this.#socket.receive();
      } catch {
        return;
      }
      const { name, type, end } = readQuestion(query);
      const question = `${name} ${TYPES[type] ?? type}`;
      this.asked.push(question);
      this.onQuestion?.(question);
      const answer = this.zone.get(question) ?? { code: 3 };
      if ("silent" in answer) continue;
      await this.#socket.send(reply(query.subarray(0, end), type, answer), from).catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await this.#serving;
  }
}

function readQuestion(query: Uint8Array): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  while (query[at] !== 0) {
    const length = query[at]!;
    labels.push(new TextDecoder().decode(query.subarray(at + 1, at + 1 + length)));
    at += length + 1;
  }
  return { name: labels.join("."), type: query[at + 1]! << 8 | query[at + 2]!, end: at + 5 };
}

function reply(
  question: Uint8Array,
  type: number,
  answer: Exclude<DnsAnswer, { silent: true }>,
): Uint8Array<ArrayBuffer> {
  const datas = "code" in answer
    ? []
    : "records" in answer
    ? answer.records.map((address) => type === 1 ? v4(address) : v6(address))
    : answer.targets.map(srv);
  const ttl = "ttl" in answer ? answer.ttl : 0;
  const head = [...question.subarray(0, 2), 0x81, 0x80 | ("code" in answer ? answer.code : 0)];
  const counts = [0, 1, 0, datas.length, 0, 0, 0, 0];
  const records = datas.flatMap((data) => [
    ...[0xc0, 12, type >> 8, type & 255, 0, 1],
    ...[
      ttl >>> 24,
      ttl >> 16 & 255,
      ttl >> 8 & 255,
      ttl & 255,
      data.length >> 8,
      data.length & 255,
    ],
    ...data,
  ]);
  return Uint8Array.of(...head, ...counts, ...question.subarray(12), ...records);
}

function v4(address: string): number[] {
  return address.split(".").map(Number);
}

/** Only `x::y` forms. */
function v6(address: string): number[] {
  const [left = "", right = ""] = address.split("::");
  const groups = (text: string) =>
    text === "" ? [] : text.split(":").map((one) => parseInt(one, 16));
  const [a, b] = [groups(left), groups(right)];
  return [...a, ...new Array(8 - a.length - b.length).fill(0), ...b]
    .flatMap((group: number) => [group >> 8, group & 255]);
}

function srv(
  { priority, weight, port, name }: {
    priority: number;
    weight: number;
    port: number;
    name: string;
  },
): number[] {
  const labels = name === "." ? [] : name.split(".");
  return [
    ...[priority, weight, port].flatMap((one) => [one >> 8, one & 255]),
    ...labels.flatMap((label) => [label.length, ...new TextEncoder().encode(label)]),
    0,
  ];
}
