/**
 * The config file as a tree that still knows where each value stands.
 *
 * @module
 */
import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type Scalar,
  type YAMLMap,
} from "yaml";
import type { ConfigError } from "./errors.ts";
import { interpolate, type InterpolationSources } from "./interpolate.ts";
import { pathText } from "./later.ts";
import { isOfPlugin, isSecretPlace, starredByName, stars } from "./secrets.ts";
import type { SourceMark } from "./types.ts";

/** A path into the file: keys and list positions. */
export type Path = readonly PropertyKey[];

/** Larger files are not configs. */
const MOST_BYTES = 8 * 1024 * 1024;

/** Values that stand deeper in each other are no configs either, and what walks through them would run out of stack. */
const MOST_LEVELS = 100;
const TOO_DEEP = `values stand in each other more than ${MOST_LEVELS} levels deep`;

/** A YAML file that was read. */
export class ConfigDocument {
  readonly file: string;
  /** What is wrong with it as YAML, and with its references. */
  readonly errors: ConfigError[] = [];
  /** The values, references put in; `undefined` if the file could not be read as YAML. */
  readonly data: unknown;
  readonly #text: string;
  readonly #lines = new LineCounter();
  readonly #document: Document.Parsed | null;
  /** Scalars whose value came from outside the file, and must not be shown. */
  readonly #secret = new Set<unknown>();
  readonly #outside: string[] = [];
  /** Where scalars stand that are secret by their place. */
  readonly #starred = new Map<unknown, readonly [start: number, end: number]>();
  /** What came from outside, and what is secret by its place, longest first. */
  #secretTexts: string[] = [];
  /** Places of scalars with a reference that stands for nothing: what follows from that is not worth saying. */
  readonly #broken = new Set<string>();

  /**
   * @param file Name for messages.
   * @param text What stands in it.
   */
  constructor(file: string, text: string, sources: InterpolationSources) {
    this.file = file;
    this.#text = text;
    if (text.length > MOST_BYTES) {
      this.#document = null;
      this.data = undefined;
      this.errors.push(this.#whole("the file is over 8 MiB", "name a config file"));
      return;
    }
    const document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      strict: true,
      uniqueKeys: true,
      version: "1.2",
      merge: false,
      // What the library would warn of on stderr is an error of its own here, with its place.
      logLevel: "error",
    });
    this.#document = document;
    this.#star(document.contents, []);
    const overflow = document.errors.find((error) => error.message.includes("call stack"));
    for (const error of overflow ? [overflow] : [...document.errors, ...document.warnings]) {
      this.errors.push(this.#yamlError(error.code, error.message, error.pos));
    }
    if (document.errors.some((error) => error.code !== "DUPLICATE_KEY")) {
      this.data = undefined;
      return;
    }
    const endless = this.#endless(document.contents, []);
    if (endless !== null) {
      this.data = undefined;
      this.errors.push(endless);
      return;
    }
    this.#visit(document.contents, sources, new Set());
    this.data = this.#toData();
  }

  /** The error that a value, or what is missing in a value, stands for. */
  atValue(path: Path, message: string, remedy: string = ""): ConfigError {
    const found = this.#find(path);
    return this.#error(found.exact ? found.value : found.key ?? found.value, message, remedy);
  }

  /** The error that a key stands for. */
  atKey(path: Path, message: string, remedy: string = ""): ConfigError {
    const found = this.#find(path);
    return this.#error(found.key ?? found.value, message, remedy);
  }

  /** Where a value stands. */
  mark(path: Path): SourceMark {
    const found = this.#find(path);
    const { line, col } = this.#lines.linePos((found.value ?? found.key)?.range?.[0] ?? 0);
    return { file: this.file, line, column: col };
  }

  /** Leaves out what only follows from a reference that stands for nothing. */
  withoutEchoes(errors: readonly ConfigError[]): ConfigError[] {
    return errors.filter((error) => !this.#broken.has(placeOf(error)));
  }

  /** A line as it may be shown, counted from 1. */
  lineAt(line: number): string {
    return line <= this.#lines.lineStarts.length ? this.#line(line) : "";
  }

  /** What came from outside and must not be shown. */
  get outside(): readonly string[] {
    return this.#outside;
  }

  /** Whether a value came from outside the file and so must not be shown. */
  isSecret(path: Path): boolean {
    const found = this.#find(path);
    return found.exact && this.#secret.has(found.value);
  }

  /** Words for a value that must not be shown; `null`: it may be. */
  hidden(path: Path): string | null {
    const { exact, value } = this.#find(path);
    if (!exact) return null;
    if (this.#secret.has(value)) return "what the reference stands for";
    return this.#starred.has(value) ? "what stands there" : null;
  }

  #noteSecrets(texts: readonly string[]): void {
    // Shorter ones are words like "true" or "80", which messages hold anyway.
    const long = texts.filter((text) => text.length >= 6 && !this.#secretTexts.includes(text));
    if (long.length === 0) return;
    this.#secretTexts = [...this.#secretTexts, ...long].sort((a, b) => b.length - a.length);
  }

  /** The last guard: messages are made not to hold secrets, and this makes sure of it. */
  #scrub(text: string): string {
    return this.#secretTexts.reduce((left, secret) => left.replaceAll(secret, "(hidden)"), text);
  }

  /** Takes note of what is secret by its place, before anything is said of it. */
  #star(node: unknown, path: Path, within = false): void {
    if (path.length > MOST_LEVELS) return;
    if (isMap(node) || isSeq(node)) {
      // Whatever is written where a secret should be is none of anybody's business either.
      const inside = within || isSecretPlace(path);
      node.items.forEach((item, i) => {
        if (!isPair(item)) this.#star(item, [...path, i], inside);
        else {this.#star(
            item.value,
            [...path, isScalar(item.key) ? String(item.key.value) : ""],
            inside,
          );}
      });
      return;
    }
    const scalar = isAlias(node) && isSecretPlace(path) ? node.resolve(this.#document!) : node;
    if (!isScalar(scalar) || !scalar.range) return;
    if (!within && !isSecretPlace(path, String(scalar.value))) return;
    this.#starred.set(scalar, [scalar.range[0], scalar.range[1]]);
    // What plugins are told are mostly words that stand elsewhere, too.
    if (!isOfPlugin(path)) this.#noteSecrets([String(scalar.value)]);
  }

  #toData(): unknown {
    try {
      return this.#document!.toJS({ maxAliasCount: 100 });
    } catch (error) {
      this.errors.push(
        this.#whole(
          error instanceof Error ? error.message : String(error),
          "use fewer aliases",
        ),
      );
      return undefined;
    }
  }

  /** What is wrong with a value that holds itself, or that goes deeper than anybody can follow. */
  #endless(node: unknown, holders: readonly unknown[]): ConfigError | null {
    if (holders.length > MOST_LEVELS) {
      return this.#error(node as Node, TOO_DEEP, "use fewer levels");
    }
    if (isAlias(node)) {
      if (!holders.includes(node.resolve(this.#document!))) return null;
      const remedy = "put the anchor at another value";
      return this.#error(node, `*${node.source} stands inside of what it stands for`, remedy);
    }
    if (!isMap(node) && !isSeq(node)) return null;
    const inner = [...holders, node];
    for (const item of node.items as unknown[]) {
      const parts = isPair(item) ? [item.key, item.value] : [item];
      for (const part of parts) {
        const error = this.#endless(part, inner);
        if (error !== null) return error;
      }
    }
    return null;
  }

  #visit(node: unknown, sources: InterpolationSources, seen: Set<unknown>, inWith = false): void {
    if (seen.has(node)) return;
    seen.add(node);
    if (isScalar(node)) {
      if (typeof node.value === "string") this.#interpolate(node, sources, inWith);
    } else if (isMap(node)) {
      for (const pair of node.items) {
        this.#checkKey(pair);
        const within = inWith || (isScalar(pair.key) && pair.key.value === "with");
        this.#visit(pair.value, sources, seen, within);
      }
    } else if (isSeq(node)) {
      for (const item of node.items) this.#visit(item, sources, seen, inWith);
    }
  }

  #checkKey(pair: Pair): void {
    const key = pair.key;
    if (!isScalar(key) || (typeof key.value !== "string" && typeof key.value !== "number")) {
      // `[::]:8080` without quotes is a list that holds a mapping; the value's own check says it better.
      const range = (key as Node | null)?.range;
      if (range === undefined || range === null || range[0] === range[1]) return;
      this.errors.push(this.#error(key as Node, "a key must be plain text", "quote it"));
    } else if (typeof key.value === "string" && key.value === "__proto__") {
      this.errors.push(this.#error(key, "a key must not be __proto__", "rename it"));
    } else if (key.value === "<<") {
      this.errors.push(
        this.#error(key, "merge keys are not read", "use an alias for the whole value: key: *name"),
      );
    }
  }

  #interpolate(node: Scalar, sources: InterpolationSources, inWith: boolean): void {
    const text = node.value as string;
    const result = interpolate(text, sources);
    this.#noteSecrets(result.secrets);
    this.#outside.push(...result.secrets);
    for (const problem of result.problems) {
      this.errors.push(
        this.#error(
          this.#part(node, problem.at, problem.length),
          problem.message,
          problem.remedy,
        ),
      );
    }
    if (result.problems.length > 0) this.#broken.add(placeOf(this.#error(node, "", "")));
    node.value = result.value;
    if (result.changed) {
      this.#secret.add(node);
      // Only the plugin knows what it wants, so an unquoted reference reads as if its value were written there.
      if (inWith && node.type === "PLAIN") node.value = plainValue(result.value);
    }
  }

  /** The place of a part of a one-line scalar; of all of it when it was written with escapes. */
  #part(node: Scalar, at: number, length: number): { range: [number, number, number] } {
    const range = node.range!;
    const quote = node.type === "QUOTE_DOUBLE" || node.type === "QUOTE_SINGLE" ? 1 : 0;
    const start = range[0] + quote;
    const raw = this.#text.slice(start + at, start + at + length);
    return raw.startsWith("${") && !raw.includes("\n")
      ? { range: [start + at, start + at + length, range[2]] }
      : { range: [range[0], range[1], range[2]] };
  }

  /** The node of a path, through aliases; the nearest node above it if it is not there. */
  #find(path: Path): { key: Node | null; value: Node | null; exact: boolean } {
    let key: Node | null = null;
    let value = this.#document?.contents as Node | null ?? null;
    for (const part of path) {
      const holder = isAlias(value) ? value.resolve(this.#document!) ?? null : value;
      if (isMap(holder)) {
        const pair = findPair(holder, String(part));
        if (pair === undefined) return { key: key ?? null, value, exact: false };
        key = pair.key as Node;
        value = pair.value as Node | null;
      } else if (isSeq(holder) && typeof part === "number" && part < holder.items.length) {
        key = null;
        value = holder.items[part] as Node;
      } else {
        return { key, value, exact: false };
      }
    }
    const holder = isAlias(value) ? value.resolve(this.#document!) ?? null : value;
    return { key, value: (holder ?? value) as Node | null, exact: value !== null };
  }

  #error(
    node: { range?: readonly [number, number, number] | null | undefined } | null | undefined,
    message: string,
    remedy: string,
  ): ConfigError {
    const range = node?.range;
    if (range === undefined || range === null) return this.#whole(message, remedy);
    return this.#atOffset(range[0], range[1], message, remedy);
  }

  #atOffset(start: number, end: number, message: string, remedy: string): ConfigError {
    const { line, col } = this.#lines.linePos(Math.min(start, Math.max(0, this.#text.length)));
    const source = this.#line(line);
    const length = Math.max(1, Math.min(end - start, source.length - col + 1));
    return {
      file: this.file,
      line: Math.max(1, line),
      column: Math.max(1, col),
      length,
      source,
      message: this.#scrub(message),
      remedy: this.#scrub(remedy),
    };
  }

  /** A line as it may be shown: what is secret has stars in its place. */
  #line(line: number): string {
    const start = this.#lines.lineStarts[line - 1] ?? 0;
    const end = this.#text.indexOf("\n", start);
    let text = this.#text.slice(start, end < 0 ? undefined : end);
    for (const [from, to] of this.#starred.values()) {
      const [first, last] = [Math.max(0, from - start), Math.max(0, to - start)];
      text = text.slice(0, first) + stars(text.slice(first, last)) + text.slice(last);
    }
    // Where YAML is broken, only a part of it has a place.
    if ((this.#document?.errors.length ?? 0) > 0) text = starredByName(text);
    return text.endsWith("\r") ? text.slice(0, -1) : text;
  }

  #whole(message: string, remedy: string): ConfigError {
    return { file: this.file, line: 0, column: 0, length: 0, source: "", message, remedy };
  }

  #yamlError(code: string, message: string, position: readonly [number, number]): ConfigError {
    // The library quotes what it has found, which may be secret.
    const what = message.replace(/: "[^]*$/, "").replace(/\.$/, "");
    const error = this.#atOffset(position[0], position[1], what, "");
    // The library itself has run out of stack.
    if (message.includes("call stack")) {
      return { ...error, message: TOO_DEEP, remedy: "use fewer levels" };
    }
    if (code === "DUPLICATE_KEY") {
      const key = this.#text.slice(position[0]).match(/^[^\s:]+/)?.[0] ?? "";
      const end = position[0] + Math.max(1, key.length);
      return this.#atOffset(
        position[0],
        end,
        `key ${JSON.stringify(key)} stands here a second time`,
        "remove one of the two",
      );
    }
    if (/:\s*\[[0-9A-Fa-f:.]*\]:\d/.test(error.source) || /:\s*::/.test(error.source)) {
      return {
        ...error,
        message: "an address with brackets or leading colons is not plain text in YAML",
        remedy: 'quote it: "[::]:8080"',
      };
    }
    if (error.source.includes("${") && /[{[].*\$\{/.test(error.source)) {
      return { ...error, remedy: 'inside { } and [ ], quote references: "${NAME}"' };
    }
    if (error.source.includes("\t")) {
      return { ...error, remedy: "indent with spaces; YAML takes no tabs" };
    }
    return { ...error, message: `this is not YAML: ${what}` };
  }
}

function placeOf(error: ConfigError): string {
  return `${error.line}:${error.column}:${error.length}`;
}

function findPair(map: YAMLMap, key: string): Pair | undefined {
  return map.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === key);
}

function plainValue(text: string): unknown {
  if (text === "true") return true;
  if (text === "false") return false;
  if (/^-?(0|[1-9]\d{0,14})(\.\d{1,15})?$/.test(text)) return Number(text);
  return text;
}

/** The words for a place in messages: ` in listeners[0]`, or nothing at the top. */
export function within(path: Path): string {
  return path.length === 0 ? "" : ` in ${pathText(path)}`;
}
