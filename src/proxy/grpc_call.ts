/**
 * What the proxy knows of a gRPC call besides its being a request: until when it may take, and how it ended.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import { CONTENT_TYPE } from "../http/field_names.ts";
import { Fields } from "../http/fields.ts";
import {
  encodeMessage,
  GRPC_STATUS,
  type GrpcKind,
  grpcKind,
  readStatus,
  readTimeout,
  statusOfHttp,
  writeTimeout,
} from "../http/grpc.ts";
import { type RequestHead, ResponseHead } from "../http/message.ts";
import type { BodySource } from "../http/session.ts";
import { errorDetail, proxyStatus } from "./error_response.ts";
import { SilenceClock } from "./silence_clock.ts";

/** One gRPC call. */
export class GrpcCall {
  readonly kind: GrpcKind;
  /** Milliseconds from the request head that it may take, all of it; `Infinity`: no limit. */
  readonly timeout: number;
  /** Code of `grpc-status`, wherever it came from; `-1` while there is none. */
  status = -1;
  #clock: SilenceClock | null = null;
  /** Whether the route lets it take less time than its client would. */
  readonly #isShortened: boolean;

  constructor(kind: GrpcKind, asked: number, most: number) {
    this.kind = kind;
    this.timeout = Math.min(asked, most);
    this.#isShortened = most < asked;
  }

  /** The error of a call whose time is over. */
  expired(): ProxyError {
    return new ProxyError(
      "deadline_exceeded",
      `Call: not over within ${
        this.#isShortened ? "timeouts.grpc" : "grpc-timeout"
      } (${this.timeout} ms)`,
      // Nobody but the client has said how long it may take, and nobody has to try again.
      { source: "downstream" },
    );
  }

  /**
   * Tells the upstream how much time is left, where that is not what the client has said.
   *
   * @param elapsed Milliseconds since the request head.
   */
  passDeadline(request: Fields, attempt: number, elapsed: number): void {
    if (this.timeout === Infinity || (attempt === 1 && !this.#isShortened)) return;
    request.set("grpc-timeout", writeTimeout(Math.max(0, this.timeout - elapsed)));
  }

  /** The code that a response head tells: its own if it is all there is, else that of its HTTP status; `-1`: none yet. */
  codeOf(response: ResponseHead): number {
    const own = readStatus(response.fields);
    return own >= 0 || response.status === 200 ? own : statusOfHttp(response.status);
  }

  /**
   * Watches an attempt in place of its sessions: messages of a call may be far apart, as long as somebody says something.
   *
   * @param silence Milliseconds without a piece of content either way; `0`: no limit.
   * @param cut Ends the call.
   */
  watch(
    sides: readonly BodySource[],
    wheel: TimerWheel,
    silence: number,
    cut: (error: ProxyError) => void,
  ): void {
    this.stop();
    for (const side of sides) side.allowSilence();
    this.#clock = new SilenceClock(wheel, { silence, duration: 0 }, () => {
      const text = `Call: silent both ways for tunnel_idle (${silence} ms)`;
      cut(new ProxyError("tunnel_idle_timeout", text, { source: "downstream" }));
    });
  }

  /** A piece of content has passed. */
  touch(): void {
    this.#clock?.touch();
  }

  /** The attempt is over. */
  stop(): void {
    this.#clock?.stop();
    this.#clock = null;
  }

  /** Takes note of a status in trailers, or in the head of a response that has nothing else. */
  note(fields: Fields): void {
    const status = readStatus(fields);
    if (status >= 0) this.status = status;
  }
}

/**
 * Reads a request as a gRPC call; `null` if it is none.
 *
 * @param hasBridge Whether gRPC-web is carried on as gRPC here. Without, it is content like any other.
 * @param most Milliseconds that the route lets a call take, or `null`.
 */
export function readCall(
  head: RequestHead,
  hasBridge: boolean,
  most: number | null,
): GrpcCall | null {
  if (head.method !== "POST" || (head.version < 20 && !hasBridge)) return null;
  const kind = grpcKind(head.fields.first(CONTENT_TYPE));
  if (kind === null || (kind === "grpc" ? head.version < 20 : !hasBridge)) return null;
  const value = head.fields.get("grpc-timeout");
  // One that is not well-formed is for the upstream to refuse.
  const asked = value === null ? null : readTimeout(value);
  return new GrpcCall(kind, asked ?? Infinity, most ?? Infinity);
}

/** The answer to a call that failed, or was answered, here. */
export interface GrpcStatusResponse {
  readonly head: ResponseHead;
  /** `grpc-status` and `grpc-message`. */
  readonly status: Fields;
  readonly code: number;
}

/** Makes the answer to a call that failed: a status in place of one of HTTP. */
export function grpcErrorResponse(error: ProxyError): GrpcStatusResponse {
  const code = codeOf(error);
  const fields = new Fields();
  const status = new Fields();
  fields.appendTrusted("Content-Type", "application/grpc");
  const told = proxyStatus(error);
  if (told !== "") fields.appendTrusted("Proxy-Status", told);
  status.appendTrusted("grpc-status", String(code));
  status.appendTrusted("grpc-message", encodeMessage(errorDetail(error)));
  return { head: new ResponseHead(200, fields), status, code };
}

/** Longest text of an answer that becomes a `grpc-message`, in bytes. */
const MOST_MESSAGE = 1024;

/**
 * Makes the answer to a call of what a plugin or a rule has answered: if with the words of HTTP, the status that stands
 * for its own, its text if it is a short one, and its other fields; if with a status of gRPC and nothing else, that.
 *
 * @returns `null` if it is messages of gRPC.
 */
export function grpcReply(reply: ResponseHead, body: Uint8Array): GrpcStatusResponse | null {
  const type = reply.fields.first(CONTENT_TYPE);
  const own = readStatus(reply.fields);
  if (own < 0 ? grpcKind(type) !== null : body.length > 0) return null;
  const code = own < 0 ? statusOfHttp(reply.status) : own;
  const fields = new Fields();
  const status = new Fields();
  fields.appendTrusted("Content-Type", "application/grpc");
  for (const [name, value] of reply.fields) {
    if (/^grpc-/i.test(name)) status.append(name, value);
    // What is said of the content is said of none.
    else if (!/^content-/i.test(name)) fields.append(name, value);
  }
  if (own < 0) {
    const text = messageOf(type, body);
    status.set("grpc-status", String(code));
    status.set("grpc-message", encodeMessage(text === "" ? `HTTP status ${reply.status}` : text));
  }
  return { head: new ResponseHead(200, fields), status, code };
}

/** The text in a content: all of it, or the words of a problem document (RFC 9457); empty if there is none for people. */
function messageOf(type: string | null, body: Uint8Array): string {
  if (type === null || body.length > MOST_MESSAGE) return "";
  const text = new TextDecoder().decode(body).trim();
  if (/^text\/plain\b/i.test(type)) return text;
  if (!/^application\/problem\+json\b/i.test(type)) return "";
  try {
    const { detail, title } = JSON.parse(text) as Record<string, unknown>;
    return [detail, title].find((one) => typeof one === "string") as string | undefined ?? "";
  } catch {
    return "";
  }
}

/** The code for an error: its own where gRPC has a word for it, else that of its HTTP status. */
function codeOf(error: ProxyError): number {
  switch (error.type) {
    case "deadline_exceeded":
      return GRPC_STATUS.deadline_exceeded;
    case "body_too_large":
    case "head_too_large":
    case "too_many_fields":
      return GRPC_STATUS.resource_exhausted;
    default:
      return statusOfHttp(error.status);
  }
}
