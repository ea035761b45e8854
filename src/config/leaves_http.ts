/**
 * Values of the config that are words of HTTP: statuses, methods, paths, names of fields and cookies.
 *
 * @module
 */
import type { StatusRange } from "../balancer/health/status_ranges.ts";
import { checkFieldName, FieldError } from "../http/field_checks.ts";
import { GRPC_STATUS, type GrpcStatusName } from "../http/grpc.ts";
import { checkTarget } from "../http/message.ts";
import { leaf, Refusal } from "./leaves.ts";

const STATUS = "a status such as 502, 5xx or 500-504";
const STATUS_PATTERN = "^([1-5]xx|[1-5]\\d\\d(-[1-5]\\d\\d)?)$|\\$\\{";
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const OTHER_KIND = new Refusal("", "", true);

/** A status, a class of statuses (`2xx`) or a range (`200-399`). */
export function statuses(least: number = 100) {
  return leaf<StatusRange>(
    STATUS,
    {
      anyOf: [
        { type: "integer", minimum: least, maximum: 599 },
        { type: "string", pattern: STATUS_PATTERN },
      ],
    },
    (value) => {
      if (typeof value !== "string" && typeof value !== "number") return OTHER_KIND;
      const span = parseStatuses(String(value));
      if (span === null) return typeof value === "number" ? new Refusal("") : OTHER_KIND;
      if (span.to > 599) return new Refusal("the last status there is is 599");
      if (span.from > span.to) return new Refusal("it begins after its end");
      return span.from < least ? new Refusal(`it must be ${least} or more`) : span;
    },
  );
}

/** Reads `502`, `5xx` or `500-504`; `null` if it is none of them. Range limits are the caller's. */
export function parseStatuses(text: string): StatusRange | null {
  const match = /^(?:([1-5])xx|([1-9]\d\d)(?:-([1-9]\d\d))?)$/i.exec(text);
  if (match === null) return null;
  if (match[1] !== undefined) {
    const from = Number(match[1]) * 100;
    return { from, to: from + 99 };
  }
  const from = Number(match[2]);
  return { from, to: match[3] === undefined ? from : Number(match[3]) };
}

/** A status of gRPC that is tried again. */
export interface GrpcCause {
  /** Its code. */
  readonly grpc: number;
}

/** A status of gRPC by its name: `grpc:unavailable`. */
export function grpcStatus() {
  const names = Object.keys(GRPC_STATUS).filter((name) => name !== "ok");
  return leaf<GrpcCause>(
    "a gRPC status such as grpc:unavailable",
    { type: "string", pattern: `^grpc:(${names.join("|")})$|\\$\\{` },
    (value) => {
      if (typeof value !== "string" || !value.startsWith("grpc:")) return OTHER_KIND;
      const name = value.slice(5);
      if (names.includes(name)) return { grpc: GRPC_STATUS[name as GrpcStatusName] };
      return new Refusal(
        `there is no status "${name}" that is a failure`,
        `one of ${names.join(", ")}`,
      );
    },
  );
}

/** The method of a request. */
export function method() {
  return leaf("a method such as GET", { type: "string" }, (value) => {
    if (typeof value !== "string") return OTHER_KIND;
    if (!TOKEN.test(value)) return new Refusal("");
    if (value === "CONNECT") return new Refusal("CONNECT asks for no resource");
    const upper = value.toUpperCase();
    return value === upper ? value : new Refusal("methods are case-sensitive", `write "${upper}"`);
  });
}

/** Path and query of a request. */
export function target() {
  return leaf("a path such as /healthz", { type: "string" }, (value) => {
    if (typeof value !== "string") return OTHER_KIND;
    if (!value.startsWith("/")) return new Refusal('it must begin with "/"');
    try {
      checkTarget(value);
      return value;
    } catch {
      return new Refusal("it holds a character that must be percent-encoded");
    }
  });
}

/** What stands in a Host field. */
export function host() {
  return leaf("a host such as example.com", { type: "string" }, (value) => {
    if (typeof value !== "string") return OTHER_KIND;
    return /^([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?$/.test(value)
      ? value
      : new Refusal("");
  });
}

/** The name of a field. */
export function fieldName() {
  return leaf("the name of a field", { type: "string" }, (value) => {
    if (typeof value !== "string") return OTHER_KIND;
    try {
      checkFieldName(value);
      return value;
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      return new Refusal("use letters, digits and -");
    }
  });
}

/** The name of a cookie (RFC 6265 §4.1.1). */
export function cookieName() {
  return leaf("the name of a cookie", { type: "string" }, (value) => {
    if (typeof value !== "string") return OTHER_KIND;
    return TOKEN.test(value) ? value : new Refusal("use letters, digits, - and _");
  });
}
