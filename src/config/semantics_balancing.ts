/**
 * What must hold between the choice of an endpoint and the endpoints.
 *
 * @module
 */
import type { Path } from "./document.ts";
import type { Findings } from "./findings.ts";
import { checkFieldName } from "../http/field_checks.ts";
import { rawKeys, rawList, rawMap, rawText, rawYesNo } from "./raw.ts";
import { HASH_ON, type HashOn, POLICIES, type PolicySpelling } from "./schema_balancing.ts";

type Raw = Readonly<Record<string, unknown>>;

/** Characters of a secret below which it could be guessed. */
const LEAST_SECRET = 16;

/** Checks `load_balancing` of an upstream. */
export function checkBalancing(findings: Findings, path: Path, upstream: Raw): void {
  const balancing = rawMap(upstream["load_balancing"]);
  const at = [...path, "load_balancing"];
  const spelling = rawText(balancing["policy"]) ?? "round_robin";
  if (Object.hasOwn(POLICIES, spelling)) {
    checkPolicy(findings, at, spelling as PolicySpelling, balancing);
  }
  if (balancing["sticky"] !== undefined) {
    checkSticky(findings, [...at, "sticky"], rawMap(balancing["sticky"]));
  }
  checkSubset(findings, [...at, "subset"], balancing["subset"], upstream["endpoints"]);
}

function checkPolicy(
  findings: Findings,
  at: Path,
  spelling: PolicySpelling,
  balancing: Raw,
): void {
  const { policy, hashes } = POLICIES[spelling];
  const keyed = policy === "hash" || policy === "ketama";
  const hash = balancing["hash"];
  if (!keyed) {
    if (hash === undefined) return;
    findings.atKey(
      [...at, "hash"],
      `the policy ${spelling} hashes nothing`,
      "remove hash, or write policy: ketama",
    );
    return;
  }
  if (balancing["sticky"] !== undefined) {
    findings.atKey(
      [...at, "sticky"],
      `the policy ${spelling} keeps clients with their endpoint already, and sticky would overrule it`,
      "remove sticky, or write policy: round_robin",
    );
  }
  if (hash === undefined) {
    if (hashes === "address" || hashes === "uri") return;
    findings.atKey(
      balancing["policy"] === undefined ? at : [...at, "policy"],
      `the policy ${spelling} hashes, but nothing says what`,
      hashes === null ? "add hash: { on: address }" : `add hash: { name: … }`,
    );
    return;
  }
  checkHashKey(findings, [...at, "hash"], rawMap(hash), hashes);
}

/**
 * Checks what is to be hashed.
 *
 * @param implied What the name of the policy says already.
 */
export function checkHashKey(
  findings: Findings,
  path: Path,
  hash: Raw,
  implied: HashOn | null,
): void {
  const given = rawText(hash["on"]);
  if (given !== null && !(HASH_ON as readonly string[]).includes(given)) return;
  if (given === null && implied === null) {
    findings.atKey(
      path,
      `nothing says what to hash`,
      `add on: ${HASH_ON.join(", ")}`,
    );
    return;
  }
  if (given !== null && implied !== null && given !== implied) {
    findings.at(
      [...path, "on"],
      `the policy hashes the ${implied}, not the ${given}`,
      "remove on, or write policy: hash",
    );
    return;
  }
  const on = (given ?? implied) as HashOn;
  const named = on === "header" || on === "cookie" || on === "query";
  const name = rawText(hash["name"]);
  const at = [...path, "name"];
  if (!named) {
    if (hash["name"] !== undefined) {
      findings.atKey(at, `name means nothing for ${on}`, "remove it");
    }
    return;
  }
  if (hash["name"] === undefined) {
    const what = on === "query" ? "argument" : on;
    findings.atKey(path, `nothing says which ${what} to hash`, "add name: …");
    return;
  }
  if (name === null) return;
  if (isName(on, name)) return;
  findings.at(
    at,
    `${findings.quote(at, name)} is no name of ${on === "query" ? "an argument" : `a ${on}`}`,
    on === "query"
      ? "write it as it stands in the query, percent-encoded"
      : "use letters, digits and -",
  );
}

function isName(on: HashOn, name: string): boolean {
  if (on === "query") return /^[!"$%'-<>-~]+$/.test(name);
  try {
    checkFieldName(name);
    return true;
  } catch {
    return false;
  }
}

function checkSticky(findings: Findings, path: Path, sticky: Raw): void {
  if (sticky["same_site"] === "none" && rawYesNo(sticky["secure"]) === false) {
    findings.at(
      [...path, "same_site"],
      "browsers drop a cookie with same_site none that is not secure",
      "write secure: true, or same_site: lax",
    );
  }
  const secret = rawText(sticky["secret"]);
  if (secret !== null && secret.length < LEAST_SECRET) {
    findings.atKey(
      [...path, "secret"],
      `the secret has fewer than ${LEAST_SECRET} characters, and could be guessed`,
      'draw one: openssl rand -base64 24, and name it as secret: "${STICKY_SECRET}"',
    );
  }
}

function checkSubset(findings: Findings, path: Path, value: unknown, endpoints: unknown): void {
  if (value === undefined) return;
  const wanted = rawMap(value);
  const names = rawKeys(wanted);
  if (names.length === 0 && typeof value === "object" && value !== null) {
    findings.atKey(path, "subset names no label", "add one: { zone: a }");
    return;
  }
  const entries = rawList(endpoints);
  // What is discovered is not known yet.
  if (entries.length === 0 || !names.every((name) => typeof wanted[name] === "string")) return;
  const found = entries.some((entry) => {
    const labels = rawMap(rawMap(entry)["labels"]);
    return names.every((name) => labels[name] === wanted[name]);
  });
  if (found) return;
  findings.atKey(
    path,
    "no endpoint has these labels",
    "add labels to the endpoints that are meant",
  );
}
