/**
 * From what zod says to what a person can act on: place, words, "did you mean".
 *
 * @module
 */
import { z } from "zod";
import type { ConfigDocument, Path } from "./document.ts";
import { within } from "./document.ts";
import type { ConfigError } from "./errors.ts";
import {
  impossible,
  LATER_KEYS,
  LATER_VALUES,
  pathText,
  pattern,
  PINGORA_TOP_LEVEL,
} from "./later.ts";
import type { LeafParams } from "./leaves.ts";
import { FILE_SCHEMA, type FileData } from "./schema.ts";
import { didYouMean, suggest } from "./suggest.ts";

type Issue = z.core.$ZodIssue;

/** The result of {@linkcode checkShape}. */
export interface Shape {
  /** `null` when there are errors. */
  readonly data: FileData | null;
  readonly errors: readonly ConfigError[];
}

/** Checks the values of a document against the schema, and reports everything that is wrong with them. */
export function checkShape(document: ConfigDocument): Shape {
  const data = structuredCloneData(document.data);
  let result = FILE_SCHEMA.safeParse(data);
  // `x-` keys are for the user; they are taken out where the schema meets them, and only there.
  for (let round = 0; !result.success && round < 16; round++) {
    if (!dropExtensions(data, flatten(result.error.issues, data))) break;
    result = FILE_SCHEMA.safeParse(data);
  }
  if (result.success) return { data: result.data, errors: [] };
  const errors: ConfigError[] = [];
  for (const issue of flatten(result.error.issues, data)) {
    errors.push(...explain(issue, document, data));
  }
  return { data: null, errors };
}

function structuredCloneData(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(structuredCloneData);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, structuredCloneData(inner)]),
  );
}

/** Replaces union issues by those of the branch that the value was meant for. */
function flatten(issues: readonly Issue[], data: unknown): Issue[] {
  return issues.flatMap((issue): Issue[] => {
    if (issue.code !== "invalid_union") return [issue];
    const branches = issue.errors.filter((branch) => !isOtherKind(branch));
    const chosen = branches.length === 0 ? undefined : branches[0]!;
    if (chosen === undefined) return [issue];
    const inner = chosen.map((one) => ({ ...one, path: [...issue.path, ...one.path] }) as Issue);
    return flatten(inner, data);
  });
}

function isOtherKind(branch: readonly Issue[]): boolean {
  return branch.some((issue) => {
    if (issue.path.length > 0) return false;
    if (issue.code === "invalid_type") return true;
    if (issue.code === "invalid_value") return true;
    return issue.code === "custom" && (issue.params as LeafParams | undefined)?.kind === true;
  });
}

function dropExtensions(data: unknown, issues: readonly Issue[]): boolean {
  let dropped = false;
  for (const issue of issues) {
    if (issue.code !== "unrecognized_keys") continue;
    const holder = valueAt(data, issue.path);
    if (typeof holder !== "object" || holder === null) continue;
    for (const key of issue.keys) {
      if (key.startsWith("x-")) {
        delete (holder as Record<string, unknown>)[key];
        dropped = true;
      }
    }
  }
  return dropped;
}

function explain(issue: Issue, document: ConfigDocument, data: unknown): ConfigError[] {
  const path = issue.path;
  if (issue.code === "unrecognized_keys") {
    return issue.keys.filter((key) => !key.startsWith("x-")).map((key) =>
      unknownKey(document, path, key)
    );
  }
  if (valueAt(data, path) === undefined && path.length > 0) {
    const key = String(path[path.length - 1]);
    return [
      document.atKey(
        path.slice(0, -1),
        `${JSON.stringify(key)} is missing${within(path.slice(0, -1))}`,
        `add ${key}: ${describeSchema(path)}`,
      ),
    ];
  }
  const place = pathText(path);
  const label = place === "" ? "the file" : place;
  if (issue.code === "invalid_value") return [wrongChoice(issue, document, data)];
  if (issue.code === "invalid_union") {
    return [wrongChoice(issue, document, data)];
  }
  if (issue.code === "custom") {
    const { expects, why, remedy } = issue.params as unknown as LeafParams;
    if (document.isSecret(path)) {
      return [document.atValue(path, `${label}: what the reference stands for is not ${expects}`)];
    }
    const reason = why === "" ? "" : `: ${why}`;
    const hidden = document.hidden(path);
    if (hidden !== null) {
      // Why may quote it.
      const quoted = `${why} ${remedy}`.includes(String(valueAt(data, path)));
      const told = `${label}: ${hidden} is not ${expects}`;
      return [document.atValue(path, quoted ? told : `${told}${reason}`, quoted ? "" : remedy)];
    }
    return [
      document.atValue(
        path,
        `${label} must be ${expects}, found ${show(valueAt(data, path))}${reason}`,
        remedy,
      ),
    ];
  }
  if (issue.code === "too_small") {
    return [document.atValue(path, `${label} must not be empty`, "add an entry")];
  }
  if (issue.code === "invalid_type") {
    const expects = issue.expected === "array"
      ? "a list"
      : issue.expected === "object" || issue.expected === "record"
      ? "a mapping"
      : issue.expected;
    return [
      document.atValue(
        path,
        `${label} must be ${expects}, found ${
          document.hidden(path) === null ? show(valueAt(data, path)) : "something else"
        }`,
        issue.expected === "array" ? "write it as a list: [a, b], or lines that begin with -" : "",
      ),
    ];
  }
  return [document.atValue(path, `${label}: ${issue.message}`)];
}

function unknownKey(document: ConfigDocument, path: Path, key: string): ConfigError {
  const full = [...path, key];
  const later = LATER_KEYS[pattern(full)];
  if (later !== undefined) {
    return document.atKey(full, `${pathText(full)} is not part of this version`, later);
  }
  const why = impossible(pattern(full));
  if (why !== null) {
    return document.atKey(full, `${pathText(full)} cannot be set: ${why}`, "remove it");
  }
  if (path.length === 0 && PINGORA_TOP_LEVEL.has(key)) {
    return document.atKey(
      full,
      `unknown key ${JSON.stringify(key)} at the top level`,
      `server keys stand under server: write "server: { ${key}: … }"`,
    );
  }
  if (path.length === 0) {
    const near = suggest(key, keysAt(["server"]));
    if (near !== null && suggest(key, keysAt([])) === null) {
      return document.atKey(
        full,
        `unknown key ${JSON.stringify(key)} at the top level, did you mean "server.${near}"?`,
      );
    }
  }
  const known = keysAt(path);
  const hint = didYouMean(key, known);
  return document.atKey(
    full,
    `unknown key ${JSON.stringify(key)}${within(path) || " at the top level"}${hint}`,
    hint === "" ? `known here: ${known.join(", ")}` : "",
  );
}

function wrongChoice(issue: Issue, document: ConfigDocument, data: unknown): ConfigError {
  const place = pathText(issue.path);
  const value = valueAt(data, issue.path);
  const choices = choicesAt(issue.path);
  const expects = choices.length === 0
    ? describeSchema(issue.path)
    : choices.length === 1
    ? choices[0]!
    : `one of ${choices.join(", ")}`;
  const hidden = document.hidden(issue.path);
  if (hidden !== null) {
    return document.atValue(issue.path, `${place}: ${hidden} is not ${expects}`);
  }
  const later = LATER_VALUES[pattern(issue.path)];
  if (typeof value === "string" && later !== undefined && Object.hasOwn(later, value)) {
    return document.atValue(
      issue.path,
      `${place}: ${JSON.stringify(value)} is not part of this version`,
      later[value],
    );
  }
  const near = typeof value === "string" ? suggest(value, choices) : null;
  return document.atValue(
    issue.path,
    `${place} must be ${expects}, found ${show(value)}` +
      (near === null ? "" : `, did you mean ${JSON.stringify(near)}?`),
  );
}

/** A value in words, short enough for a line. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…"` : text;
}

function valueAt(data: unknown, path: Path): unknown {
  let value = data;
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) {
      return undefined;
    }
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}

/** Takes off what wraps a schema: defaults, optionality. */
function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  let inner = schema;
  while (
    inner instanceof z.ZodOptional || inner instanceof z.ZodPrefault ||
    inner instanceof z.ZodDefault
  ) inner = inner.unwrap();
  return inner;
}

/** The schemas that may stand at a path, one for each branch of a union on the way. */
function schemasAt(path: Path): z.core.$ZodType[] {
  let here: z.core.$ZodType[] = branches(FILE_SCHEMA);
  for (const part of path) {
    here = here.flatMap((schema) => {
      if (schema instanceof z.ZodObject) {
        const next = (schema.shape as Record<string, z.core.$ZodType>)[String(part)];
        return next === undefined ? [] : branches(next);
      }
      if (schema instanceof z.ZodArray) return branches(schema.element);
      if (schema instanceof z.ZodRecord) return branches(schema.valueType);
      return [];
    });
  }
  return here;
}

function branches(schema: z.core.$ZodType): z.core.$ZodType[] {
  const inner = unwrap(schema);
  return inner instanceof z.ZodUnion ? inner.options.flatMap(branches) : [inner];
}

function keysAt(path: Path): string[] {
  return schemasAt(path).flatMap((schema) =>
    schema instanceof z.ZodObject ? Object.keys(schema.shape) : []
  );
}

function choicesAt(path: Path): string[] {
  return schemasAt(path).flatMap((schema) => {
    if (schema instanceof z.ZodEnum) return schema.options.map(String);
    if (schema instanceof z.ZodLiteral) return [...schema.values].map(String);
    if (schema instanceof z.ZodObject) return ["a mapping"];
    if (schema instanceof z.ZodRecord) {
      return [path[0] === "plugins" ? "a mapping by plugin name" : "a mapping"];
    }
    if (schema instanceof z.ZodArray) return ["a list"];
    const expects = leafExpectation(schema);
    return expects === null ? [] : [expects];
  });
}

function describeSchema(path: Path): string {
  const schema = schemasAt(path)[0];
  if (schema instanceof z.ZodObject) return "a mapping";
  if (schema instanceof z.ZodArray) return "a list";
  return (schema && leafExpectation(schema)) ?? "a value";
}

/** What a leaf expects, which it says when it refuses. */
function leafExpectation(schema: z.core.$ZodType): string | null {
  const result = z.safeParse(schema, undefined);
  const issue = result.success ? undefined : result.error.issues[0];
  return issue?.code === "custom" ? issue.message : null;
}
