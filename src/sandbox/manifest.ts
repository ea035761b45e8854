/**
 * Judges what a plugin says of itself.
 *
 * @module
 */
import { matchError } from "../http/matcher.ts";
import { PHASE_NAMES, type PhaseName } from "../plugin/phases.ts";
import type { Match, OnError, Permissions } from "../plugin/plugin.ts";
import { HEAD_KEYS, type PluginDescription } from "./describe.ts";
import { PluginLoadError } from "./load_error.ts";
import {
  DEFAULT_CONCURRENCY,
  DEFAULT_HEAP,
  DEFAULT_TICK,
  type PluginManifest,
  type PluginSpec,
} from "./spec.ts";
import { didYouMean, readSize, readTime } from "./units.ts";

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/;
const MIN_HEAP = 8 * 1024 * 1024;
const PERMISSIONS = ["net", "read", "write", "env", "sys"] as const;
const MATCH_KEYS = ["path", "method", "host", "header"];
const LIMIT_KEYS = ["timeout", "heap", "concurrency"];

/**
 * Turns a description into a manifest.
 *
 * @param described What came out of the sandbox: checked here, because a stranger wrote it.
 * @throws {PluginLoadError} If it is not a plugin.
 */
export function readManifest(described: unknown, spec: PluginSpec): PluginManifest {
  const check: Check = new Check(spec.file);
  const description = check.description(described);
  const { values } = description;
  const phases = check.keys(description);
  const name = values["name"] ?? spec.name;
  if (typeof name !== "string" || !NAME.test(name)) {
    check.fail(
      `"name" must be lower-case letters, digits and dashes, found ${show(name)}`,
      'For example: name: "geo-block".',
    );
  }
  const version = values["version"] ?? "";
  if (typeof version !== "string" || version.length > 64) {
    check.fail(`"version" must be a short text, found ${show(version)}`);
  }
  const onError = values["onError"] ?? "fail_closed";
  if (onError !== "fail_closed" && onError !== "fail_open") {
    check.fail(
      `"onError" must be "fail_closed" or "fail_open", found ${show(onError)}`,
    );
  }
  return {
    name,
    version,
    permissions: check.permissions(values["permissions"]),
    phases,
    match: values["match"] === undefined ? null : check.match(values["match"], "match"),
    matchHooks: check.matchHooks(values["matchHooks"], phases),
    limits: check.limits(values["limits"]),
    onError: onError as OnError,
    tickInterval: check.time(values["tickInterval"], "tickInterval") ?? DEFAULT_TICK,
    hasConfigSchema: description.schema === "standard",
    configSchema: description.configSchema ?? null,
  };
}

class Check {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  fail(message: string, remedy = ""): never {
    throw new PluginLoadError(message, { file: this.#file, remedy });
  }

  description(value: unknown): PluginDescription {
    const description = value as PluginDescription;
    if (
      !isRecord(value) || typeof description.type !== "string" ||
      !Array.isArray(description.keys) ||
      !isRecord(description.values) || !isRecord(description.uncopied)
    ) this.fail("the sandbox gave no description of the plugin");
    if (description.type !== "object") {
      this.fail(
        description.type === "undefined"
          ? "the module has no default export"
          : `the default export is a ${description.type}, not a plugin`,
        "Write: export default definePlugin({ … });",
      );
    }
    if (description.schema === "other") {
      this.fail(
        '"config" is not a schema',
        "Any Standard Schema is one: an object of zod, valibot or arktype, for example.",
      );
    }
    for (const key of Object.keys(description.uncopied)) {
      this.fail(`"${key}" is not plain data: ${String(description.uncopied[key])}`);
    }
    return description;
  }

  /** Checks that each key is known and has its type; returns the phases in the order of their calls. */
  keys(description: PluginDescription): PhaseName[] {
    const found = new Set<string>();
    for (const pair of description.keys as readonly unknown[]) {
      const [key, type] = Array.isArray(pair) ? pair as unknown[] : [];
      if (typeof key !== "string") this.fail("the sandbox gave no description of the plugin");
      const hook = (PHASE_NAMES as readonly string[]).includes(key);
      if (!hook && !HEAD_KEYS.includes(key)) {
        this.fail(
          `unknown property "${key}"${didYouMean(key, [...PHASE_NAMES, ...HEAD_KEYS])}`,
          "A plugin has hooks, named after their phase, and the properties of its head.",
        );
      }
      if (type === "undefined") continue;
      if ((hook || key === "setup" || key === "dispose") && type !== "function") {
        this.fail(`"${key}" must be a function, found a ${String(type)}`);
      }
      if (hook) found.add(key);
    }
    return PHASE_NAMES.filter((phase) => found.has(phase));
  }

  permissions(value: unknown): Permissions {
    if (value === undefined) return {};
    if (!isRecord(value)) this.fail(`"permissions" must be an object, found ${show(value)}`);
    const result: { [Kind in typeof PERMISSIONS[number]]?: string[] | boolean } = {};
    for (const [key, asked] of Object.entries(value)) {
      const kind = PERMISSIONS.find((known) => known === key);
      if (kind === undefined) {
        this.fail(
          `unknown permission "${key}"${didYouMean(key, PERMISSIONS)}`,
          "There are net, read, write, env and sys; nothing else is ever granted.",
        );
      }
      if (asked === undefined) continue;
      if (typeof asked === "boolean") result[kind] = asked;
      else result[kind] = this.#texts(asked, `permissions.${kind}`);
    }
    return result;
  }

  match(value: unknown, where: string): Match {
    if (!isRecord(value)) this.fail(`"${where}" must be an object, found ${show(value)}`);
    for (const key of Object.keys(value)) {
      if (MATCH_KEYS.includes(key)) continue;
      this.fail(
        `unknown property "${where}.${key}"${didYouMean(key, MATCH_KEYS)}`,
        "A match has path, method, host and header.",
      );
    }
    const match: { -readonly [Key in keyof Match]: Match[Key] } = {};
    for (const part of ["path", "method", "host"] as const) {
      const given = value[part];
      if (given === undefined) continue;
      match[part] = typeof given === "string" ? given : this.#texts(given, `${where}.${part}`);
    }
    const { header } = value;
    if (header !== undefined) {
      if (!isRecord(header)) {
        this.fail(`"${where}.header" must be an object, found ${show(header)}`);
      }
      for (const [name, expected] of Object.entries(header)) {
        if (typeof expected === "string" || typeof expected === "boolean") continue;
        this.fail(`"${where}.header.${name}" must be a text, true or false`);
      }
      match.header = header as Record<string, string | boolean>;
    }
    const wrong = matchError(match);
    if (wrong !== null) this.fail(`"${where}.${wrong.part}": ${wrong.message}`);
    return match;
  }

  matchHooks(value: unknown, phases: readonly PhaseName[]): PluginManifest["matchHooks"] {
    if (value === undefined) return {};
    if (!isRecord(value)) this.fail(`"matchHooks" must be an object, found ${show(value)}`);
    const result: { [Phase in PhaseName]?: Match } = {};
    for (const [key, one] of Object.entries(value)) {
      const phase = phases.find((known) => known === key);
      if (phase === undefined) {
        this.fail(`"matchHooks.${key}" is for no hook of this plugin${didYouMean(key, phases)}`);
      }
      if (one !== undefined) result[phase] = this.match(one, `matchHooks.${key}`);
    }
    return result;
  }

  limits(value: unknown): PluginManifest["limits"] {
    if (value !== undefined && !isRecord(value)) {
      this.fail(`"limits" must be an object, found ${show(value)}`);
    }
    const limits = value ?? {};
    for (const key of Object.keys(limits)) {
      if (!LIMIT_KEYS.includes(key)) {
        this.fail(`unknown property "limits.${key}"${didYouMean(key, LIMIT_KEYS)}`);
      }
    }
    const { heap, concurrency } = limits;
    const bytes = heap === undefined ? DEFAULT_HEAP : readSize(heap);
    if (bytes === null || bytes < MIN_HEAP) {
      this.fail(`"limits.heap" must be a size of at least 8MiB, found ${show(heap)}`);
    }
    if (
      concurrency !== undefined &&
      (!Number.isInteger(concurrency) || (concurrency as number) < 1 ||
        (concurrency as number) > 1e6)
    ) this.fail(`"limits.concurrency" must be a whole number above 0, found ${show(concurrency)}`);
    return {
      timeout: this.time(limits["timeout"], "limits.timeout"),
      heap: bytes,
      concurrency: (concurrency as number | undefined) ?? DEFAULT_CONCURRENCY,
    };
  }

  time(value: unknown, where: string): number | null {
    if (value === undefined) return null;
    const ms = readTime(value);
    if (ms === null || ms > 2 ** 31 - 1) {
      this.fail(`"${where}" must be a time like "50ms" or "2s", found ${show(value)}`);
    }
    return ms;
  }

  #texts(value: unknown, where: string): string[] {
    if (
      !Array.isArray(value) || value.length > 256 ||
      !value.every((one) => typeof one === "string" && one !== "" && one.length <= 4096)
    ) this.fail(`"${where}" must be a list of texts, found ${show(value)}`);
    return Array.from(value as string[]);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 100));
  if (typeof value === "object" && value !== null) {
    return Array.isArray(value) ? "a list" : "an object";
  }
  return String(value).slice(0, 100);
}
