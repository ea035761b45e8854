/**
 * PROGRAM with a gRPC server and clients, all real (`@grpc/grpc-js`), that speak of nothing but bytes: no schema is
 * needed. It does what the lines of its input say, and tells what happens in lines of JSON; see grpc_peers.ts.
 *
 * A process of its own, without our config: the types that the package brings would take the place of Deno's own
 * everywhere. Runs stay small: Node's HTTP/2 in Deno does not survive a GOAWAY after some hundred streams.
 *
 * @module
 */
// deno-lint-ignore-file no-explicit-any
import { Buffer } from "node:buffer";
import type { CallEnd, CallOptions, Command, MethodName } from "./grpc_peers.ts";

// Not to be found by the type checker.
const PACKAGE = ["npm:@grpc", "grpc-js@1.14.7"].join("/");
const grpc: any = await import(PACKAGE);

type Bytes = Buffer;

function say(line: Record<string, unknown>): void {
  console.log(JSON.stringify(line));
}

function method(path: string, requestStream: boolean, responseStream: boolean) {
  const same = (bytes: Bytes) => Buffer.from(bytes);
  return {
    path: `/test.Peer/${path}`,
    requestStream,
    responseStream,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

/** The methods: one of each kind, and some that fail. */
const METHODS: Record<MethodName, ReturnType<typeof method>> = {
  /** Answers with what it got, and trailers. */
  unary: method("Unary", false, false),
  /** Answers with the number of messages and bytes it got. */
  collect: method("Collect", true, false),
  /** Sends as many messages as it is asked for. */
  count: method("Count", false, true),
  /** Answers each message at once. */
  chat: method("Chat", true, true),
  /** Fails with the code that it is asked for. */
  fail: method("Fail", false, false),
  /** Fails with UNAVAILABLE two times out of three. */
  flaky: method("Flaky", false, false),
  /** Never answers. */
  never: method("Never", false, false),
  /** Never says anything after a first message. */
  silent: method("Silent", true, true),
};

/** Starts a server. */
async function serve(): Promise<number> {
  const server = new grpc.Server();
  let flaky = 0;
  const note = (call: any, name: MethodName) => {
    call.on("cancelled", () => say({ event: "cancelled", name }));
  };
  const service = Object.fromEntries(
    Object.entries(METHODS).map(([name, of]) => [name, { ...of, originalName: name }]),
  );
  server.addService(service, {
    unary(call: any, answer: any) {
      const deadline = call.getDeadline();
      const left = deadline === Infinity ? null : Number(deadline) - Date.now();
      say({ event: "unary", metadata: plain(call.metadata), left });
      const trailers = new grpc.Metadata();
      trailers.set("x-trailer", "yes");
      trailers.set("x-binary-bin", Buffer.from([0, 255, 10]));
      const head = new grpc.Metadata();
      head.set("x-head", "yes");
      call.sendMetadata(head);
      answer(null, call.request, trailers);
    },
    collect(call: any, answer: any) {
      let messages = 0;
      let bytes = 0;
      call.on("data", (message: Bytes) => {
        messages++;
        bytes += message.length;
      });
      call.on("end", () => answer(null, Buffer.from(`${messages} ${bytes}`)));
    },
    count(call: any) {
      note(call, "count");
      const most = Number(call.request.toString());
      let sent = 0;
      const more = () => {
        while (sent < most && !call.cancelled) {
          sent++;
          if (!call.write(Buffer.alloc(1000, sent & 255))) {
            call.once("drain", more);
            return;
          }
        }
        call.end();
      };
      more();
    },
    chat(call: any) {
      note(call, "chat");
      call.on("data", (message: Bytes) => call.write(Buffer.from(`you said ${message}`)));
      call.on("end", () => call.end());
    },
    fail(call: any, answer: any) {
      const code = Number(call.request.toString());
      answer({ code, details: "as you wish: 100% ü" });
    },
    flaky(_call: any, answer: any) {
      if (++flaky % 3 === 0) answer(null, Buffer.from(String(flaky)));
      else answer({ code: grpc.status.UNAVAILABLE, details: "not now" });
    },
    never(call: any) {
      note(call, "never");
    },
    silent(call: any) {
      note(call, "silent");
      call.on("data", (message: Bytes) => call.write(message));
      call.on("end", () => call.end());
    },
  });
  const credentials = grpc.ServerCredentials.createInsecure();
  return await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", credentials, (error: Error | null, port: number) => {
      if (error === null) resolve(port);
      else reject(error);
    });
  });
}

/** Metadata as JSON can hold it: what is binary is in base64. */
function plain(metadata: any): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata.getMap()).map(([name, value]) => [
      name,
      value instanceof Uint8Array ? Buffer.from(value).toString("base64") : String(value),
    ]),
  );
}

interface OpenCall {
  readonly raw: any;
  readonly messages: Bytes[];
  readonly end: Promise<CallEnd>;
  read: number;
  wake: (() => void) | null;
}

function connect(port: number, ca: string | null): any {
  return new grpc.Client(
    `127.0.0.1:${port}`,
    ca === null ? grpc.credentials.createInsecure() : grpc.credentials.createSsl(Buffer.from(ca)),
    ca === null ? {} : { "grpc.ssl_target_name_override": "a.test" },
  );
}

function open(client: any, name: MethodName, options: CallOptions, only: string): OpenCall {
  const { path, requestStream, responseStream, requestSerialize, responseDeserialize } =
    METHODS[name];
  const metadata = new grpc.Metadata();
  for (const [key, value] of Object.entries(options.metadata ?? {})) metadata.set(key, value);
  const more = options.deadline === undefined ? {} : { deadline: Date.now() + options.deadline };
  const messages: Bytes[] = [];
  const args = [path, requestSerialize, responseDeserialize];
  const got = (error: unknown, answer?: Bytes) => {
    if (error === null && answer !== undefined) messages.push(answer);
  };
  const message = Buffer.from(only);
  const raw = requestStream
    ? responseStream
      ? client.makeBidiStreamRequest(...args, metadata, more)
      : client.makeClientStreamRequest(...args, metadata, more, got)
    : responseStream
    ? client.makeServerStreamRequest(...args, message, metadata, more)
    : client.makeUnaryRequest(...args, message, metadata, more, got);
  let head: Record<string, string> = {};
  raw.on("metadata", (metadata: any) => head = plain(metadata));
  raw.on("error", () => {});
  const end = new Promise<CallEnd>((resolve) => {
    raw.on("status", (status: any) => {
      resolve({
        code: status.code,
        details: status.details,
        messages: messages.map((message) => message.toString("latin1")),
        head,
        trailers: plain(status.metadata),
      });
    });
  });
  const call: OpenCall = { raw, messages, end, read: 0, wake: null };
  if (responseStream) {
    raw.on("data", (message: Bytes) => {
      messages.push(message);
      call.wake?.();
    });
  }
  return call;
}

const clients: any[] = [];
const calls: OpenCall[] = [];

async function obey(command: Command): Promise<unknown> {
  switch (command.op) {
    case "serve":
      return await serve();
    case "connect":
      return clients.push(connect(command.port, command.ca)) - 1;
    case "open":
      return calls.push(
        open(clients[command.client], command.name, command.options, command.only),
      ) - 1;
    case "send":
      return void calls[command.call]!.raw.write(Buffer.from(command.message));
    case "end_sending":
      return void calls[command.call]!.raw.end();
    case "cancel":
      return void calls[command.call]!.raw.cancel();
    case "next": {
      const call = calls[command.call]!;
      while (call.messages.length <= call.read) {
        await new Promise<void>((resolve) => call.wake = resolve);
      }
      return call.messages[call.read++]!.toString();
    }
    case "end":
      return await calls[command.call]!.end;
  }
}

let rest = "";
for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + text).split("\n");
  rest = lines.pop()!;
  for (const line of lines) {
    const { id, ...command } = JSON.parse(line) as Command & { id: number };
    obey(command as Command).then(
      (result) => say({ id, result: result ?? null }),
      (error) => say({ id, error: String(error) }),
    );
  }
}
Deno.exit(0);
