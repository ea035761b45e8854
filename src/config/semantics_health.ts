/**
 * What must hold within health checks and circuit breakers.
 *
 * @module
 */
import type { Path } from "./document.ts";
import type { Findings } from "./findings.ts";
import { rawDuration, rawInteger, rawKeys, rawMap, rawPercent, rawText } from "./raw.ts";
import { checkFields, type FieldNames } from "./semantics_fields.ts";
import { formatDuration, parseSize } from "./units.ts";

type Raw = Readonly<Record<string, unknown>>;

/** Keys that mean nothing for an active check of some type. */
const MEANINGLESS: Readonly<Record<string, readonly string[]>> = {
  tcp: ["service", "method", "path", "host", "headers", "expect", "reuse"],
  grpc: ["method", "path", "expect"],
  http: ["service"],
};
const FIELDS: FieldNames = { own: new Set(["host"]) };
const METADATA: FieldNames = { own: new Set(["host", "content-type", "te", "grpc-timeout"]) };

/**
 * Checks `health_check` of an upstream.
 *
 * @param protocol What the traffic speaks.
 */
export function checkHealth(
  findings: Findings,
  path: Path,
  value: unknown,
  protocol: string,
): void {
  if (value === undefined) return;
  const health = rawMap(value);
  if (typeof value === "object" && value !== null && rawKeys(health).length === 0) {
    findings.atKey(path, "health_check checks nothing", "add active or passive");
  }
  if (health["active"] !== undefined) {
    checkActive(findings, [...path, "active"], rawMap(health["active"]), protocol);
  }
  if (health["passive"] !== undefined) {
    checkPassive(findings, [...path, "passive"], rawMap(health["passive"]));
  }
}

function checkActive(findings: Findings, path: Path, active: Raw, protocol: string): void {
  const interval = rawDuration(active["interval"]) ?? 10_000;
  const timeout = rawDuration(active["timeout"]) ?? 2_000;
  if (timeout > interval) {
    findings.at(
      [...path, active["timeout"] === undefined ? "interval" : "timeout"],
      `a check may take ${formatDuration(timeout)}, longer than the ${
        formatDuration(interval)
      } from one to the next`,
      "make timeout the shorter of the two",
    );
  }
  const type = rawText(active["type"]) ?? "http";
  for (const key of MEANINGLESS[type] ?? []) {
    if (active[key] === undefined) continue;
    findings.atKey(
      [...path, key],
      `${key} means nothing for a check of type ${type}`,
      `remove it, or write type: ${key === "service" ? "grpc" : "http"}`,
    );
  }
  if (type === "grpc" && protocol === "h1" && active["port"] === undefined) {
    findings.at(
      [...path, "type"],
      "a gRPC check speaks HTTP/2, and the traffic of this upstream does not",
      "set transport.protocol to h2, h2c or auto, or give the check a port of its own",
    );
  }
  if (type === "tcp") return;
  const names = type === "grpc" ? METADATA : FIELDS;
  checkFields(findings, [...path, "headers"], rawMap(active["headers"]), names);
  if (type === "grpc") return;
  const expect = rawMap(active["expect"]);
  const body = rawText(expect["body"]);
  if (body === null) return;
  const at = [...path, "expect", "body"];
  if (active["method"] === "HEAD") {
    findings.atKey(at, "the answer to HEAD has no content to search", "write method: GET");
    return;
  }
  const written = expect["body_bytes"];
  const limit = written === undefined ? 65_536 : parseSize(String(written));
  if (typeof limit === "number" && new TextEncoder().encode(body).length > limit) {
    findings.atKey(at, "the text is longer than what is read", "raise body_bytes");
  }
}

function checkPassive(findings: Findings, path: Path, passive: Raw): void {
  const eject = rawDuration(passive["eject"]) ?? 30_000;
  const maxEject = rawDuration(passive["max_eject"]) ?? 300_000;
  if (eject > maxEject) {
    findings.at(
      [...path, passive["eject"] === undefined ? "max_eject" : "eject"],
      `the first ejection, ${formatDuration(eject)}, is longer than the longest, ${
        formatDuration(maxEject)
      }`,
      "make max_eject the longer of the two",
    );
  }
  const factor = passive["latency_factor"];
  if (typeof factor === "number" && factor > 0 && factor <= 1) {
    findings.at(
      [...path, "latency_factor"],
      "a factor up to 1 would eject endpoints that are no slower than the others",
      "write 2 or more, or 0 for off",
    );
  }
  const never = rawInteger(passive["consecutive_failures"]) === 0 &&
    (rawPercent(passive["error_ratio"]) ?? 0) === 0 && (factor ?? 0) === 0;
  if (never) {
    findings.atKey(
      path,
      "passive never ejects: consecutive_failures, error_ratio and latency_factor are all off",
      "turn one of them on, or remove passive",
    );
  } else if (rawPercent(passive["max_ejected"]) === 0) {
    findings.at([...path, "max_ejected"], "0% ejects nobody", "remove passive");
  }
}

/** Checks `circuit_breaker` of an upstream. */
export function checkBreaker(findings: Findings, path: Path, upstream: Raw): void {
  const value = upstream["circuit_breaker"];
  if (value === undefined) return;
  const breaker = rawMap(value);
  const at = [...path, "circuit_breaker"];
  if (
    breaker["max_connections"] !== undefined &&
    rawMap(upstream["transport"])["max_connections"] !== undefined
  ) {
    findings.atKey(
      [...at, "max_connections"],
      "max_connections stands in circuit_breaker and in transport, and is the same",
      "remove one of the two",
    );
  }
  const open = rawDuration(breaker["open_for"]) ?? 5_000;
  const most = rawDuration(breaker["max_open_for"]) ?? 60_000;
  if (open > most) {
    findings.at(
      [...at, breaker["open_for"] === undefined ? "max_open_for" : "open_for"],
      `the first time it is open, ${formatDuration(open)}, is longer than the longest, ${
        formatDuration(most)
      }`,
      "make max_open_for the longer of the two",
    );
  }
  const limits = ["max_requests", "max_pending", "max_connections"];
  if (
    rawPercent(breaker["error_ratio"]) === 0 &&
    (rawInteger(breaker["consecutive_failures"]) ?? 0) === 0 &&
    limits.every((key) => (rawInteger(breaker[key]) ?? 0) === 0)
  ) {
    findings.atKey(
      at,
      "circuit_breaker limits nothing and never opens",
      "set a limit, error_ratio or consecutive_failures, or remove it",
    );
  }
}
