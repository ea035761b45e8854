/**
 * The config file as JSON Schema, for editors.
 *
 * @module
 */
import { z } from "zod";
import { FILE_SCHEMA } from "./schema.ts";

/** A JSON Schema. */
export type JsonSchema = { [key: string]: unknown };

/**
 * Makes the JSON Schema (draft 2020-12) of the file, with the description and default of every key.
 *
 * @param plugins Plugin name to the JSON Schema of its config, where it is known: `with` is then checked by it.
 */
export function configSchema(plugins: Readonly<Record<string, unknown>> = {}): JsonSchema {
  const schema = z.toJSONSchema(FILE_SCHEMA, {
    io: "input",
    target: "draft-2020-12",
    override: ({ jsonSchema }) => {
      // Keys that begin with x- are the user's own, wherever keys are known.
      if (jsonSchema.type === "object" && jsonSchema.additionalProperties === false) {
        jsonSchema.patternProperties = { "^x-": {} };
      }
    },
  }) as JsonSchema;
  const result: JsonSchema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Sluice",
    description: "The configuration of Sluice, an edge proxy.",
    ...schema,
  };
  const names = Object.keys(plugins).sort();
  if (names.length > 0) {
    const definitions = Object.fromEntries(
      names.map((name) => [`plugin-${name}`, embed(plugins[name], `#/$defs/plugin-${name}`)]),
    );
    result["$defs"] = { ...(result["$defs"] as object | undefined), ...definitions };
    addPluginConfigs(result, names);
  }
  return result;
}

/**
 * Fits a schema into another one: without a dialect and an address of its own, and with its references to
 * itself (`#`, `#/…`) leading to its new place.
 */
function embed(schema: unknown, place: string): unknown {
  if (Array.isArray(schema)) return schema.map((item) => embed(item, place));
  if (typeof schema !== "object" || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema).filter(([key]) => key !== "$schema" && key !== "$id").map((
      [key, value],
    ) => [
      key,
      key === "$ref" && typeof value === "string" && value.startsWith("#")
        ? `${place}${value.slice(1)}`
        : embed(value, place),
    ]),
  );
}

/** Finds the mappings with `use` and `with`, and says what `with` holds for each name. */
function addPluginConfigs(node: unknown, names: readonly string[]): void {
  if (typeof node !== "object" || node === null) return;
  if (Array.isArray(node)) {
    for (const item of node) addPluginConfigs(item, names);
    return;
  }
  const schema = node as JsonSchema;
  const properties = schema["properties"] as JsonSchema | undefined;
  if (properties !== undefined && "use" in properties && "with" in properties) {
    schema["allOf"] = names.map((name) => ({
      if: { properties: { use: { const: name } }, required: ["use"] },
      then: { properties: { with: { $ref: `#/$defs/plugin-${name}` } } },
    }));
    return;
  }
  for (const inner of Object.values(schema)) addPluginConfigs(inner, names);
}

/** One key of the file, for the manual. */
export interface ConfigKey {
  /** `listeners[].address`; `{}` stands for a name of the user's. */
  readonly path: string;
  readonly type: string;
  /** As one would write it, or `null` if there is none. */
  readonly fallback: string | null;
  readonly required: boolean;
  readonly description: string;
}

/** Every key of the file, in the order of the schema. */
export function configKeys(): ConfigKey[] {
  const keys: ConfigKey[] = [];
  walk(configSchema(), "", keys);
  return keys;
}

function walk(schema: JsonSchema, path: string, keys: ConfigKey[]): void {
  for (const branch of (schema["anyOf"] as JsonSchema[] | undefined) ?? []) {
    walk(branch, path, keys);
  }
  const items = schema["items"] as JsonSchema | undefined;
  if (items !== undefined) walk(items, `${path}[]`, keys);
  const rest = schema["additionalProperties"];
  if (typeof rest === "object" && rest !== null) walk(rest as JsonSchema, `${path}.{}`, keys);
  const properties = schema["properties"] as Record<string, JsonSchema> | undefined;
  const required = (schema["required"] as string[] | undefined) ?? [];
  for (const [name, inner] of Object.entries(properties ?? {})) {
    const at = path === "" ? name : `${path}.${name}`;
    keys.push({
      path: at,
      type: typeText(inner),
      fallback: "default" in inner ? JSON.stringify(inner["default"]) : null,
      required: required.includes(name),
      description: String(inner["description"] ?? ""),
    });
    walk(inner, at, keys);
  }
}

/** The kind of a value in a few words. */
function typeText(schema: JsonSchema): string {
  const branches = schema["anyOf"] as JsonSchema[] | undefined;
  if (branches !== undefined) {
    if (branches.some((one) => String(one["pattern"]).includes("KiB"))) {
      const others = branches.filter((one) => one["type"] === "object").map(typeText);
      return ["size", ...others].join(" or ");
    }
    return [...new Set(branches.map(typeText))].join(" or ");
  }
  if (schema["const"] !== undefined) return `\`${String(schema["const"])}\``;
  const choices = schema["enum"] as unknown[] | undefined;
  if (choices !== undefined) return choices.map((one) => `\`${String(one)}\``).join(", ");
  const type = schema["type"];
  if (type === "array") return `list of ${typeText(schema["items"] as JsonSchema)}`;
  if (type === "object") {
    const rest = schema["additionalProperties"];
    return typeof rest === "object" && rest !== null
      ? `mapping of name to ${typeText(rest as JsonSchema)}`
      : "mapping";
  }
  const pattern = String(schema["pattern"] ?? "");
  if (pattern.includes("ms|s|m")) return "duration";
  if (pattern.includes("KiB")) return "size";
  if (pattern.includes("%")) return "percentage";
  if (Array.isArray(type)) return type[0] === "integer" ? "integer" : String(type[0]);
  return type === undefined ? "any" : String(type);
}
