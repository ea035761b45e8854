/**
 * The pieces that the parts of the config schema are made from.
 *
 * @module
 */
import { z } from "zod";
import { anyText, leaf, Refusal, text } from "./leaves.ts";

/** A key that must be there. */
export function required<S extends z.ZodType>(schema: S, description: string) {
  return schema.meta({ ...schema.meta(), description });
}

/** A key that may be left out, and then has no value. */
export function optional<S extends z.ZodType>(schema: S, description: string) {
  return schema.optional().meta({ ...schema.meta(), description });
}

/** A key that may be left out, and then has a value, given as one would write it. */
export function withDefault<S extends z.ZodType>(
  schema: S,
  value: z.input<S>,
  description: string,
) {
  return schema.prefault(value as never).meta({ description });
}

/** A mapping whose keys are all known. */
export function mapping<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.strictObject(shape);
}

/** One value or a list of values. */
export function oneOrMany(expects: string) {
  const item = text(expects);
  return z.union([item, z.array(item).min(1)]);
}

/** Field names to values, or `true` and `false` for there and not there. */
function headerConditions() {
  const condition = leaf<string | boolean>(
    "a value in quotes, true or false",
    { anyOf: [{ type: "string" }, { type: "boolean" }] },
    (value) => {
      if (typeof value === "string" || typeof value === "boolean") return value;
      return typeof value === "number"
        ? new Refusal("it is not text", `quote it: "${value}"`)
        : new Refusal("", "", true);
    },
  );
  return z.record(z.string(), condition);
}

/** Which requests something is for. */
export function matchSchema() {
  return mapping({
    path: optional(
      oneOrMany("a path such as /exact or /prefix/*"),
      "`/exact`, `/prefix/*` (`/prefix` too, and all below), `*`. Several are alternatives.",
    ),
    method: optional(
      oneOrMany("a method such as GET"),
      "Methods, in capitals. Several are alternatives.",
    ),
    host: optional(
      oneOrMany("a host such as example.com or *.example.com"),
      "`example.com`, `*.example.com` (all below it, not itself), without port. Several are alternatives.",
    ),
    header: optional(
      headerConditions(),
      "Field name to value; `true`: the field must be there, `false`: it must not. All must hold.",
    ),
  });
}

/** Field names to values. */
export function fieldValues() {
  return z.record(z.string(), anyText());
}
