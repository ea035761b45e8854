/**
 * Says in plain data what a plugin's module exports, so that it can be judged elsewhere.
 *
 * @module
 */
import { PHASE_NAMES } from "../plugin/phases.ts";
import { MAX_VALUE_BYTES } from "./protocol.ts";
import { clip, copyValue, describeError } from "./values.ts";

/** The keys of a plugin that are not hooks. */
export const HEAD_KEYS: readonly string[] = [
  "name",
  "version",
  "permissions",
  "config",
  "match",
  "matchHooks",
  "limits",
  "onError",
  "tickInterval",
  "setup",
  "dispose",
];

/** Head keys whose values are plain data. */
const DATA_KEYS = [
  "name",
  "version",
  "permissions",
  "match",
  "matchHooks",
  "limits",
  "onError",
  "tickInterval",
];

/** What a module exports. */
export interface PluginDescription {
  /** Of the default export: `none` if there is none. */
  readonly type: string;
  /** Each own key and the type of its value. */
  readonly keys: readonly (readonly [string, string])[];
  /** The plain values of the head. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Keys of the head whose value could not be copied, and why. */
  readonly uncopied: Readonly<Record<string, string>>;
  readonly schema: "none" | "standard" | "other";
  /** The schema of its config as JSON Schema, if it can tell; `null` otherwise. */
  readonly configSchema: unknown;
}

/** Describes the default export of a module. */
export function describePlugin(exported: unknown): PluginDescription {
  const keys: [string, string][] = [];
  const values: Record<string, unknown> = {};
  const uncopied: Record<string, string> = {};
  const type = exported === null ? "null" : Array.isArray(exported) ? "list" : typeof exported;
  if (type !== "object") {
    return { type, keys, values, uncopied, schema: "none", configSchema: null };
  }
  const plugin = exported as Record<string, unknown>;
  for (const key of Object.keys(plugin).slice(0, 2 * (PHASE_NAMES.length + HEAD_KEYS.length))) {
    keys.push([clip(key, 64), typeof plugin[key]]);
  }
  for (const key of DATA_KEYS) {
    if (plugin[key] === undefined) continue;
    try {
      values[key] = copyValue(plugin[key], MAX_VALUE_BYTES, key);
    } catch (error) {
      uncopied[key] = describeError(error, 200);
    }
  }
  const config = plugin["config"];
  return {
    type,
    keys,
    values,
    uncopied,
    schema: schemaKind(config),
    configSchema: jsonSchemaOf(config),
  };
}

/** Asks a schema for itself as JSON Schema (Standard JSON Schema, version 1). */
function jsonSchemaOf(schema: unknown): unknown {
  try {
    const standard = (schema as { "~standard": { jsonSchema: JsonSchemaMaker } })["~standard"];
    const made = standard.jsonSchema.input({ target: "draft-2020-12" });
    return copyValue(made, MAX_VALUE_BYTES, "config");
  } catch {
    // Not every schema can tell, and one that cannot is none the worse for it.
    return null;
  }
}

interface JsonSchemaMaker {
  input(options: { target: "draft-2020-12" }): unknown;
}

function schemaKind(schema: unknown): PluginDescription["schema"] {
  if (schema === undefined) return "none";
  if ((typeof schema !== "object" && typeof schema !== "function") || schema === null) {
    return "other";
  }
  const standard = (schema as { "~standard"?: unknown })["~standard"];
  const valid = typeof standard === "object" && standard !== null &&
    typeof (standard as { validate?: unknown }).validate === "function";
  return valid ? "standard" : "other";
}
