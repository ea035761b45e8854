/**
 * Whether one match leaves nothing over for another.
 *
 * @module
 */
import { alternatives, type HeadMatch } from "../http/matcher.ts";

/**
 * Whether every request that `narrow` matches is matched by `wide`, too. May say no where only more thought
 * would show a yes; never the other way round.
 */
export function matchCovers(wide: HeadMatch, narrow: HeadMatch): boolean {
  return part(alternatives(wide.path), alternatives(narrow.path), pathCovers) &&
    part(alternatives(wide.method), alternatives(narrow.method), (a, b) => a === b) &&
    part(alternatives(wide.host), alternatives(narrow.host), hostCovers) &&
    headerCovers(wide.header ?? {}, narrow.header ?? {});
}

function part(
  wide: readonly string[],
  narrow: readonly string[],
  covers: (wide: string, narrow: string) => boolean,
): boolean {
  if (wide.length === 0 || wide.includes("*")) return true;
  if (narrow.length === 0) return false;
  return narrow.every((one) => wide.some((other) => covers(other, one)));
}

function pathCovers(wide: string, narrow: string): boolean {
  if (wide === narrow) return true;
  // "*" also stands for the targets that are no paths.
  if (!wide.endsWith("/*") || narrow === "*") return false;
  const prefix = wide.slice(0, -1);
  return narrow.startsWith(prefix) || narrow === prefix.slice(0, -1);
}

function hostCovers(wide: string, narrow: string): boolean {
  const a = wide.toLowerCase();
  const b = narrow.toLowerCase();
  if (a === b) return true;
  return a.startsWith("*.") && b.replace(/^\*/, "").endsWith(a.slice(1)) && b !== a.slice(2);
}

function headerCovers(
  wide: Readonly<Record<string, string | boolean>>,
  narrow: Readonly<Record<string, string | boolean>>,
): boolean {
  const conditions = new Map(
    Object.entries(narrow).map(([name, value]) => [name.toLowerCase(), value]),
  );
  return Object.entries(wide).every(([name, value]) => {
    const other = conditions.get(name.toLowerCase());
    return other === value || (value === true && typeof other === "string");
  });
}
