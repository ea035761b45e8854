/**
 * What must hold for how a route asks its upstreams.
 *
 * @module
 */
import type { Path } from "./document.ts";
import type { Findings } from "./findings.ts";
import { rawDuration, rawInteger, rawKeys, rawList, rawMap, rawPercent, rawText } from "./raw.ts";
import { checkHashKey } from "./semantics_balancing.ts";
import { formatDuration } from "./units.ts";

type Raw = Readonly<Record<string, unknown>>;

/** Checks upstream, split, mirror, timeouts, retry and hedge of a route. */
export function checkAttempts(
  findings: Findings,
  path: Path,
  route: Raw,
  upstreams: ReadonlySet<string>,
): void {
  checkReference(findings, [...path, "upstream"], route["upstream"], upstreams);
  checkSplit(findings, path, route, upstreams);
  checkMirrors(findings, path, route, upstreams);
  checkTimes(findings, path, route);
}

function checkReference(
  findings: Findings,
  path: Path,
  value: unknown,
  upstreams: ReadonlySet<string>,
): string | null {
  const name = rawText(value);
  if (name !== null && !upstreams.has(name)) {
    findings.unknown("upstream", path, name, upstreams, "add it under upstreams");
  }
  return name;
}

function checkSplit(
  findings: Findings,
  path: Path,
  route: Raw,
  upstreams: ReadonlySet<string>,
): void {
  const { split } = route;
  if (split === undefined) {
    if (route["split_by"] !== undefined) {
      findings.atKey(
        [...path, "split_by"],
        "split_by means nothing without split",
        "add split: a list of upstreams and weights",
      );
    }
    return;
  }
  if (route["upstream"] !== undefined) {
    findings.atKey(
      [...path, "split"],
      "split stands in place of upstream, but both are here",
      "name the upstream in the split, with a weight",
    );
  }
  const entries = rawList(split).map(rawMap);
  const seen = new Map<string, number>();
  entries.forEach((entry, i) => {
    const at = [...path, "split", i, "upstream"];
    const name = checkReference(findings, at, entry["upstream"], upstreams);
    if (name === null) return;
    const first = seen.get(name);
    if (first === undefined) {
      seen.set(name, i);
      return;
    }
    findings.at(
      at,
      `upstream ${findings.quote(at, name)} is in the split already, at split[${first}]`,
      "remove one of the two, or give the other a larger weight",
    );
  });
  if (entries.length > 0 && entries.every((entry) => rawInteger(entry["weight"]) === 0)) {
    findings.atKey(
      [...path, "split"],
      "all weights of the split are 0, so no upstream gets a request",
      "give at least one upstream a weight of 1 or more",
    );
  }
  if (route["split_by"] !== undefined) {
    checkHashKey(findings, [...path, "split_by"], rawMap(route["split_by"]), null);
  }
}

function checkMirrors(
  findings: Findings,
  path: Path,
  route: Raw,
  upstreams: ReadonlySet<string>,
): void {
  const own = new Set([
    rawText(route["upstream"]),
    ...rawList(route["split"]).map((entry) => rawText(rawMap(entry)["upstream"])),
  ]);
  const seen = new Set<string>();
  rawList(route["mirror"]).forEach((value, i) => {
    const mirror = rawMap(value);
    const at = [...path, "mirror", i, "upstream"];
    const name = checkReference(findings, at, mirror["upstream"], upstreams);
    if (name !== null && own.has(name)) {
      findings.at(
        at,
        `upstream ${
          findings.quote(at, name)
        } gets the requests of this route already, so each would be made twice`,
        "mirror to another upstream",
      );
    }
    if (name !== null && seen.has(name)) {
      findings.at(
        at,
        `upstream ${findings.quote(at, name)} is mirrored to a second time`,
        "remove one of the two",
      );
    }
    if (name !== null) seen.add(name);
    if (rawPercent(mirror["percent"]) === 0) {
      findings.at([...path, "mirror", i, "percent"], "0% copies nothing", "remove the mirror");
    }
  });
}

function checkTimes(findings: Findings, path: Path, route: Raw): void {
  const retry = rawMap(route["retry"]);
  const request = rawDuration(rawMap(route["timeouts"])["request"]);
  const perTry = rawDuration(retry["per_try_timeout"]);
  const over = (at: Path, what: string, ms: number): void =>
    findings.at(
      at,
      `${what} of ${formatDuration(ms)} is never over: timeouts.request of ${
        formatDuration(request!)
      } ends the request before`,
      "make it shorter, or timeouts.request longer",
    );
  if (request !== null && perTry !== null && perTry > request) {
    over([...path, "retry", "per_try_timeout"], "per_try_timeout", perTry);
  }
  const after = rawDuration(rawMap(route["hedge"])["after"]);
  const hedgePath = [...path, "hedge", "after"];
  if (after !== null && request !== null && after >= request) over(hedgePath, "after", after);
  else if (after !== null && perTry !== null && after >= perTry) {
    findings.at(
      hedgePath,
      `after of ${formatDuration(after)} is never over: per_try_timeout of ${
        formatDuration(perTry)
      } ends the attempt before`,
      "make it shorter",
    );
  }
  if (rawInteger(retry["attempts"]) === 0) {
    for (const key of rawKeys(retry)) {
      if (key === "attempts" || key === "buffer_bytes" || key === "per_try_timeout") continue;
      findings.atKey(
        [...path, "retry", key],
        `${key} means nothing when attempts is 0`,
        "remove it, or allow attempts",
      );
    }
  } else if (Array.isArray(retry["on"]) && retry["on"].length === 0) {
    findings.at(
      [...path, "retry", "on"],
      "nothing is tried again when the list is empty",
      "write attempts: 0 instead, or name what is tried again",
    );
  }
  const backoff = rawMap(retry["backoff"]);
  const base = rawDuration(backoff["base"]) ?? 25;
  const max = rawDuration(backoff["max"]) ?? 250;
  if (base > max) {
    const key = backoff["base"] === undefined ? "max" : "base";
    findings.at(
      [...path, "retry", "backoff", key],
      `the first wait, up to ${formatDuration(base)}, is longer than the longest, ${
        formatDuration(max)
      }`,
      "make max the longer of the two",
    );
  }
}
