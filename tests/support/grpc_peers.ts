/**
 * A gRPC server and its clients, both real, in a process of their own; see grpc_program.ts.
 *
 * @module
 */
import { withDeadline } from "./deadline.ts";

/** What a server can be asked for. */
export type MethodName =
  /** Answers with what it got, and trailers. */
  | "unary"
  /** Answers with the number of messages and bytes it got. */
  | "collect"
  /** Sends as many messages as it is asked for. */
  | "count"
  /** Answers each message at once. */
  | "chat"
  /** Fails with the code that it is asked for. */
  | "fail"
  /** Fails with UNAVAILABLE two times out of three. */
  | "flaky"
  /** Never answers. */
  | "never"
  /** Says again what it is told, and nothing else. */
  | "silent";

/** Codes that tests speak of. */
export const CODES = {
  ok: 0,
  cancelled: 1,
  deadlineExceeded: 4,
  permissionDenied: 7,
  unavailable: 14,
} as const;

/** How a call ended. */
export interface CallEnd {
  readonly code: number;
  readonly details: string;
  /** Each as latin-1 text. */
  readonly messages: readonly string[];
  /** What is binary is in base64. */
  readonly head: Readonly<Record<string, string>>;
  readonly trailers: Readonly<Record<string, string>>;
}

/** Metadata and deadline of a call. */
export interface CallOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** Milliseconds from now. */
  readonly deadline?: number;
}

/** What the program is told to do. */
export type Command =
  | { op: "serve" }
  | { op: "connect"; port: number; ca: string | null }
  | { op: "open"; client: number; name: MethodName; options: CallOptions; only: string }
  | { op: "send"; call: number; message: string }
  | { op: "end_sending" | "cancel" | "next" | "end"; call: number };

/** What the server has seen. */
export interface GrpcServerFacts {
  /** Calls that were cancelled, by method. */
  readonly cancelled: string[];
  /** Milliseconds that were left of the deadlines of unary calls. */
  readonly deadlines: number[];
  /** Metadata of the last unary call. */
  metadata: Readonly<Record<string, string>>;
}

/** A call that is under way. */
export interface OpenCall {
  send(message: string): void;
  /** The next message that the server sends. */
  next(): Promise<string>;
  endSending(): void;
  cancel(): void;
  end(): Promise<CallEnd>;
}

const STREAMS_UP: readonly MethodName[] = ["collect", "chat", "silent"];

/** The process, with any number of servers and clients in it. */
export class GrpcPeers implements AsyncDisposable {
  readonly facts: GrpcServerFacts = { cancelled: [], deadlines: [], metadata: {} };
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #over: Promise<void>;
  #id = 0;

  constructor() {
    const program = new URL("./grpc_program.ts", import.meta.url).pathname;
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-prompt", "--no-config", "--no-lock", "--no-check", program],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#over = this.#listen();
  }

  /** Starts a server in clear text, because TLS of this package's servers does not work in Deno; gives its port. */
  async serve(): Promise<number> {
    return await this.#ask({ op: "serve" }) as number;
  }

  /** Makes a client of a port. `ca`: the root of the server's certificate; without one, clear text is spoken. */
  async connect(port: number, ca: string | null = null): Promise<GrpcClient> {
    return new GrpcClient(
      await this.#ask({ op: "connect", port, ca }) as number,
      (command) => this.#ask(command),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#over;
    await this.#child.status;
  }

  #ask(command: Command): Promise<unknown> {
    const id = ++this.#id;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    const line = new TextEncoder().encode(JSON.stringify({ id, ...command }) + "\n");
    this.#input.write(line).catch((error) => waiting.reject(error));
    return withDeadline(waiting.promise, 30_000, `${command.op} by the peers of gRPC`);
  }

  async #listen(): Promise<void> {
    let rest = "";
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.#hear(JSON.parse(line));
    }
  }

  #hear(line: Record<string, unknown>): void {
    if (line.event === "cancelled") this.facts.cancelled.push(line.name as string);
    else if (line.event === "unary") {
      this.facts.metadata = line.metadata as Record<string, string>;
      if (line.left !== null) this.facts.deadlines.push(line.left as number);
    } else {
      const waiting = this.#waiting.get(line.id as number)!;
      this.#waiting.delete(line.id as number);
      if (line.error === undefined) waiting.resolve(line.result);
      else waiting.reject(new Error(line.error as string));
    }
  }
}

/** A client of one address. */
export class GrpcClient {
  readonly #client: number;
  readonly #ask: (command: Command) => Promise<unknown>;

  constructor(client: number, ask: (command: Command) => Promise<unknown>) {
    this.#client = client;
    this.#ask = ask;
  }

  /** Makes a call with one message, or with several, and waits for its end. */
  async call(
    name: MethodName,
    messages: readonly string[],
    options: CallOptions = {},
  ): Promise<CallEnd> {
    const call = await this.open(name, options, messages[0]);
    if (STREAMS_UP.includes(name)) {
      for (const message of messages) call.send(message);
      call.endSending();
    }
    return await call.end();
  }

  /** Opens a call. `only` is the message of a method that takes one. */
  async open(name: MethodName, options: CallOptions = {}, only: string = ""): Promise<OpenCall> {
    const ask = this.#ask;
    const call = await ask({ op: "open", client: this.#client, name, options, only }) as number;
    return {
      send: (message) => void ask({ op: "send", call, message }),
      next: async () => await ask({ op: "next", call }) as string,
      endSending: () => void ask({ op: "end_sending", call }),
      cancel: () => void ask({ op: "cancel", call }),
      end: async () => await ask({ op: "end", call }) as CallEnd,
    };
  }
}
