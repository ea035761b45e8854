/**
 * The tables of the manual, made from the schema.
 *
 * @module
 */
import { type ConfigKey, configKeys } from "./json_schema.ts";

/**
 * The table of one top-level key, in Markdown.
 *
 * @param section The top-level key; an empty string for the keys at the top that hold no others.
 */
export function manualTable(section: string): string {
  const keys = configKeys();
  const rows = keys.filter((key) => {
    const top = key.path.split(/[.[]/)[0]!;
    if (section !== "") return top === section && key.path !== section && !repeated(key);
    const below = new RegExp(`^${top}[.[]`);
    return key.path === top && !keys.some((other) => below.test(other.path));
  });
  return [
    "| Key | Type | Default | Meaning |",
    "| --- | --- | --- | --- |",
    ...rows.map(row),
    "",
  ].join("\n");
}

const SECTIONS = /<!-- keys: ?(\w*) -->[\s\S]*?<!-- end -->/g;

/** The manual with all of its tables made anew. */
export function withTables(manual: string): string {
  return manual.replace(
    SECTIONS,
    (_old, section: string) =>
      `<!-- keys:${section && ` ${section}`} -->\n\n${manualTable(section)}\n<!-- end -->`,
  );
}

/** Keys of `when` and of the match of a rule are those of the match of a route. */
function repeated(key: ConfigKey): boolean {
  return /(\.when|rules\[\]\.match)\./.test(key.path) ||
    /^services\[\]\.plugins\[\]\./.test(key.path);
}

function row(key: ConfigKey): string {
  const fallback = key.required ? "required" : key.fallback === null ? "" : code(key.fallback);
  const cells = [code(key.path), key.type, fallback, key.description];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function code(text: string): string {
  return `\`${text}\``;
}
