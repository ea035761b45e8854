/**
 * What must hold for routes: where they lead, what they run, and that each can be reached.
 *
 * @module
 */
import { type HeadMatch, matchError } from "../http/matcher.ts";
import type { Path } from "./document.ts";
import type { Findings } from "./findings.ts";
import { pathText } from "./later.ts";
import { rawList, rawMap, rawText } from "./raw.ts";
import { matchCovers } from "./reachability.ts";
import { checkAttempts } from "./semantics_attempts.ts";
import { checkFields, checkName } from "./semantics_fields.ts";

/** Checks the routes of all services. `plugins` is `null` when nobody knows which there are. */
export function checkRoutes(
  findings: Findings,
  services: readonly unknown[],
  upstreams: ReadonlySet<string>,
  plugins: readonly string[] | null,
): void {
  const ids = new Map<string, Path>();
  services.forEach((entry, s) => {
    const service = rawMap(entry);
    const usedByService = checkUses(
      findings,
      ["services", s, "plugins"],
      service["plugins"],
      plugins,
      new Map(),
    );
    const earlier: { match: HeadMatch; path: Path }[] = [];
    rawList(service["routes"]).forEach((value, r) => {
      const route = rawMap(value);
      const path = ["services", s, "routes", r];
      checkId(findings, [...path, "id"], route["id"], ids);
      checkAttempts(findings, path, route, upstreams);
      const used = checkUses(
        findings,
        [...path, "plugins"],
        route["plugins"],
        plugins,
        usedByService,
      );
      rawList(route["rules"]).forEach((rule, i) =>
        checkRule(findings, [...path, "rules", i], rawMap(rule))
      );
      if (
        route["upstream"] === undefined && route["split"] === undefined && used.size === 0 &&
        usedByService.size === 0 &&
        (plugins === null || plugins.length === 0) &&
        !rawList(route["rules"]).some((rule) => rawMap(rule)["respond"] !== undefined)
      ) {
        findings.atKey(
          path,
          `${pathText(path)} leads nowhere`,
          "give it an upstream or a split, a plugin that answers, or a rule with respond",
        );
      }
      const match = checkMatch(findings, [...path, "match"], route["match"]);
      if (match === null) return;
      const before = earlier.find((one) => matchCovers(one.match, match));
      if (before !== undefined) {
        findings.atKey(
          path,
          `${pathText(path)} is never reached: ${
            pathText(before.path)
          } stands before it and matches all that it does`,
          "put the narrower route first",
        );
      }
      earlier.push({ match, path });
    });
  });
}

function checkId(findings: Findings, path: Path, value: unknown, ids: Map<string, Path>): void {
  const id = rawText(value);
  if (id === null) return;
  const first = ids.get(id);
  if (first === undefined) {
    ids.set(id, path);
    return;
  }
  findings.at(
    path,
    `route ${findings.quote(path, id)} is named a second time, first at ${
      pathText(first.slice(0, -1))
    }`,
    "give it another id",
  );
}

/** Returns the names that were used, with their places. */
function checkUses(
  findings: Findings,
  path: Path,
  value: unknown,
  plugins: readonly string[] | null,
  before: ReadonlyMap<string, Path>,
): Map<string, Path> {
  const used = new Map<string, Path>();
  rawList(value).forEach((entry, i) => {
    const plain = rawText(entry);
    const name = plain ?? rawText(rawMap(entry)["use"]);
    if (plain === null) checkMatch(findings, [...path, i, "when"], rawMap(entry)["when"]);
    if (name === null) return;
    const at = plain === null ? [...path, i, "use"] : [...path, i];
    if (plugins !== null && !plugins.includes(name)) {
      findings.unknown(
        "plugin",
        at,
        name,
        plugins,
        "put it into the folder of plugins.directory",
      );
    }
    const first = used.get(name) ?? before.get(name);
    if (first === undefined) {
      used.set(name, at);
      return;
    }
    findings.at(
      at,
      `plugin ${findings.quote(at, name)} is used a second time, first at ${pathText(first)}`,
      "use it once; its when may list alternatives",
    );
  });
  return used;
}

/** Checks a match; returns it when it can be compared with others. */
function checkMatch(findings: Findings, path: Path, value: unknown): HeadMatch | null {
  const given = rawMap(value);
  let sound = true;
  for (const part of ["path", "method", "host"] as const) {
    const wanted = given[part];
    if (wanted === undefined) continue;
    const list = rawText(wanted) === null ? rawList(wanted) : [wanted];
    if (list.length === 0) sound = false;
    list.forEach((one, i) => {
      const at = Array.isArray(wanted) ? [...path, part, i] : [...path, part];
      // The shape check has its own words for what is not text.
      sound = rawText(one) !== null && checkPart(findings, at, { [part]: one }) && sound;
    });
  }
  for (const [name, wanted] of Object.entries(rawMap(given["header"]))) {
    const readable = typeof wanted === "string" || typeof wanted === "boolean";
    const at = [...path, "header", name];
    sound = readable && checkPart(findings, at, { header: { [name]: wanted } }) && sound;
  }
  return sound ? given as HeadMatch : null;
}

function checkPart(findings: Findings, path: Path, match: HeadMatch): boolean {
  const error = matchError(match);
  if (error === null) return true;
  const secret = findings.isSecret(path);
  findings.at(path, secret ? `what the reference stands for is no ${error.part}` : error.message);
  return false;
}

function checkRule(
  findings: Findings,
  path: Path,
  rule: Readonly<Record<string, unknown>>,
): void {
  checkMatch(findings, [...path, "match"], rule["match"]);
  for (const side of ["request", "response"]) {
    const changes = rawMap(rule[side]);
    checkFields(findings, [...path, side, "set"], rawMap(changes["set"]));
    const set = new Set(Object.keys(rawMap(changes["set"])).map((name) => name.toLowerCase()));
    rawList(changes["remove"]).forEach((value, i) => {
      const name = rawText(value);
      if (name === null) return;
      const at = [...path, side, "remove", i];
      if (set.has(name.toLowerCase())) {
        findings.at(at, `field ${findings.quote(at, name)} is both set and removed`, "keep one");
      }
      checkName(findings, at, name, false);
    });
  }
  const respond = rawMap(rule["respond"]);
  checkFields(findings, [...path, "respond", "headers"], rawMap(respond["headers"]));
  const status = respond["status"];
  if ((status === 204 || status === 304) && rawText(respond["body"]) !== null) {
    findings.at([...path, "respond", "body"], `an answer with status ${status} has no content`);
  }
  const does = ["request", "response", "respond"].some((key) => rule[key] !== undefined);
  if (!does) {
    findings.atKey(path, `${pathText(path)} does nothing`, "add request, response or respond");
  }
}
