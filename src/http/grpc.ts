/**
 * The words of gRPC that a proxy has to know: content types, deadlines, statuses.
 *
 * @module
 */
import type { Fields } from "./fields.ts";

/** What a content type asks for: gRPC itself, or the form of it that browsers can speak. */
export type GrpcKind = "grpc" | "grpc_web";

const CONTENT_TYPE = /^application\/grpc(-web(?:-text)?)?(?:$|[+;\t ])/i;

/** Whether a content type is one of gRPC; `null` if not. */
export function grpcKind(contentType: string | null): GrpcKind | null {
  if (contentType === null) return null;
  const match = CONTENT_TYPE.exec(contentType);
  return match === null ? null : match[1] === undefined ? "grpc" : "grpc_web";
}

/** Status codes by name, as `retry.on` spells them behind `grpc:`. */
export const GRPC_STATUS = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalid_argument: 3,
  deadline_exceeded: 4,
  not_found: 5,
  already_exists: 6,
  permission_denied: 7,
  resource_exhausted: 8,
  failed_precondition: 9,
  aborted: 10,
  out_of_range: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  data_loss: 15,
  unauthenticated: 16,
} as const;

/** The name of a status code. */
export type GrpcStatusName = keyof typeof GRPC_STATUS;

/** The code that an HTTP status stands for where there is no `grpc-status` (gRPC: HTTP to gRPC Status Code Mapping). */
export function statusOfHttp(status: number): number {
  switch (status) {
    case 400:
      return GRPC_STATUS.internal;
    case 401:
      return GRPC_STATUS.unauthenticated;
    case 403:
      return GRPC_STATUS.permission_denied;
    case 404:
      return GRPC_STATUS.unimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return GRPC_STATUS.unavailable;
    default:
      return GRPC_STATUS.unknown;
  }
}

/** The code in `grpc-status`; `-1` if there is none that could be one. */
export function readStatus(fields: Fields): number {
  const value = fields.get("grpc-status");
  return value !== null && /^\d{1,3}$/.test(value) ? Number(value) : -1;
}

/** Milliseconds in each unit of `grpc-timeout`. */
const UNITS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000001,
};

/**
 * Reads `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Requests").
 *
 * @returns Milliseconds, not rounded; `null` if it is not well-formed.
 */
export function readTimeout(value: string): number | null {
  const match = /^(\d{1,8})([HMSmun])$/.exec(value);
  return match === null ? null : Number(match[1]) * UNITS[match[2]!]!;
}

/** Writes a `grpc-timeout` of so many milliseconds, rounded up to what its eight digits can tell. */
export function writeTimeout(ms: number): string {
  const whole = Math.max(0, Math.ceil(ms));
  if (whole < 1e8) return `${whole}m`;
  const seconds = Math.ceil(ms / 1000);
  return seconds < 1e8 ? `${seconds}S` : `${Math.min(99_999_999, Math.ceil(ms / 3_600_000))}H`;
}

/** Writes text as a `grpc-message`: UTF-8, percent-encoded where it is not printable ASCII (gRPC, "Responses"). */
export function encodeMessage(text: string): string {
  let out = "";
  for (const byte of new TextEncoder().encode(text)) {
    out += byte >= 0x20 && byte <= 0x7e && byte !== 0x25
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}
