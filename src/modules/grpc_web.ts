/**
 * gRPC-web: lets clients that cannot have trailers, such as browsers, call gRPC upstreams.
 *
 * On the way to the upstream the content type becomes that of gRPC, and content in base64 (`-text`) is decoded. On the
 * way back trailers become the last frame of the content, with the first bit of its flags set, and in the `-text` form
 * everything is encoded message by message. A trailers-only response keeps its status in the head, as the protocol has
 * it.
 *
 * @module
 */
import { CONTENT_TYPE, TE } from "../http/field_names.ts";
import { type Fields, writeLatin1 } from "../http/fields.ts";
import { grpcKind } from "../http/grpc.ts";
import type { RequestHead, ResponseHead } from "../http/message.ts";
import { dropForbiddenTrailers } from "../http/trailers.ts";
import { Base64Decoder, Base64Encoder } from "./base64_stream.ts";
import type { BodyFilter, HttpModule, ModuleRun, ResponseFilter } from "./module.ts";

/** Flags and length in front of each message. */
const PREFIX = 5;
/** The flag of the frame that holds the trailers. */
const TRAILERS = 0x80;

/** The module. */
export const grpcWeb: HttpModule = {
  name: "grpc_web",
  begin(request) {
    const type = request.fields.first(CONTENT_TYPE);
    if (request.method !== "POST" || grpcKind(type) !== "grpc_web") return null;
    return new GrpcWebRun(type!, request.fields.get("accept"));
  },
};

class GrpcWebRun implements ModuleRun {
  readonly #type: string;
  readonly requestBody?: () => BodyFilter;
  /** Whether the client wants base64. */
  readonly #wantsText: boolean;

  constructor(type: string, accept: string | null) {
    this.#type = type;
    const sendsText = isText(type);
    if (sendsText) {
      this.requestBody = () => {
        const decoder = new Base64Decoder();
        return (piece, end) => decoder.decode(piece, end);
      };
    }
    // Clients name what they want in Accept, or else want what they send.
    this.#wantsText = accept !== null && /application\/grpc-web/i.test(accept)
      ? isText(accept)
      : sendsText;
  }

  requestHead(request: RequestHead): void {
    request.fields.set(
      "Content-Type",
      this.#type.replace(/^(application\/grpc)-web(-text)?/i, "$1"),
    );
    // Without it a gRPC server may take the client for one that trailers do not reach.
    request.fields.deleteId(TE);
    request.fields.appendTrusted("TE", "trailers");
  }

  responseHead(response: ResponseHead): ResponseFilter | null {
    const type = response.fields.first(CONTENT_TYPE);
    // What is no gRPC, such as the error page of a proxy in between, is left as it is.
    if (grpcKind(type) !== "grpc") return null;
    const form = this.#wantsText ? "-web-text" : "-web";
    response.fields.set("Content-Type", type!.replace(/^application\/grpc/i, `$&${form}`));
    return this.#wantsText ? new TextFilter() : BINARY;
  }
}

/** Whether a content type, or a list that a client accepts, is of the form in base64. */
function isText(type: string): boolean {
  return /application\/grpc-web-text/i.test(type);
}

const BINARY: ResponseFilter = {
  body: (piece) => piece,
  trailers: trailerFrame,
};

/**
 * Writes trailers as a frame: names in lower case, one line each, without an empty line at the end.
 *
 * @param trailers What the upstream sent. What may not come in trailers is taken out.
 */
export function trailerFrame(trailers: Fields): Uint8Array {
  dropForbiddenTrailers(trailers);
  let block = "";
  for (const [name, value] of trailers) block += `${name.toLowerCase()}: ${value}\r\n`;
  const frame = new Uint8Array(PREFIX + block.length);
  frame[0] = TRAILERS;
  new DataView(frame.buffer).setUint32(1, block.length);
  writeLatin1(frame, PREFIX, block);
  return frame;
}

/**
 * Encodes content in base64 so that each message ends where a group of letters ends: a client can read it as soon as it
 * is there. Nothing is kept but what does not fill a group.
 */
class TextFilter implements ResponseFilter {
  readonly #encoder = new Base64Encoder();
  /** Bytes of the prefix that have come, and the length in them so far. */
  #prefix = 0;
  #length = 0;
  /** Bytes of the message that are still to come. */
  #left = 0;

  readonly body: BodyFilter = (piece, end) => {
    // Each message in the piece may add padding, and a message has a prefix at least.
    const ends = Math.ceil(piece.length / PREFIX) + 1;
    const out = new Uint8Array(Base64Encoder.most(piece.length) + 4 * ends);
    let position = 0;
    let from = 0;
    while (from < piece.length) {
      const to = this.#messageEnd(piece, from);
      const whole = this.#prefix === PREFIX && this.#left === 0;
      position = this.#encoder.encode(piece, from, to, whole, out, position);
      if (whole) this.#prefix = this.#length = 0;
      from = to;
    }
    if (end) position = this.#encoder.encode(piece, 0, 0, true, out, position);
    return out.subarray(0, position);
  };

  trailers(trailers: Fields): Uint8Array {
    const frame = trailerFrame(trailers);
    const out = new Uint8Array(Base64Encoder.most(frame.length) + 8);
    // A message that was cut short must not run into the frame.
    let position = this.#encoder.encode(frame, 0, 0, true, out, 0);
    position = this.#encoder.encode(frame, 0, frame.length, true, out, position);
    return out.subarray(0, position);
  }

  /** Where the message that `from` belongs to ends, or the piece. */
  #messageEnd(piece: Uint8Array, from: number): number {
    let at = from;
    while (this.#prefix < PREFIX && at < piece.length) {
      if (this.#prefix > 0) this.#length = this.#length * 256 + piece[at]!;
      at++;
      if (++this.#prefix === PREFIX) this.#left = this.#length;
    }
    if (this.#prefix < PREFIX) return at;
    const taken = Math.min(this.#left, piece.length - at);
    this.#left -= taken;
    return at + taken;
  }
}
