/**
 * Where checks put what they find.
 *
 * @module
 */
import type { ConfigDocument, Path } from "./document.ts";
import type { ConfigError } from "./errors.ts";
import { didYouMean } from "./suggest.ts";

/** Collects errors and warnings about the values of one document. */
export class Findings {
  readonly errors: ConfigError[] = [];
  /** What is allowed and yet unlikely to be meant. */
  readonly warnings: ConfigError[] = [];
  readonly #document: ConfigDocument;

  constructor(document: ConfigDocument) {
    this.#document = document;
  }

  /** Adds an error at a value. */
  at(path: Path, message: string, remedy: string = ""): void {
    this.errors.push(this.#document.atValue(path, message, remedy));
  }

  /** Adds an error at a key. */
  atKey(path: Path, message: string, remedy: string = ""): void {
    this.errors.push(this.#document.atKey(path, message, remedy));
  }

  /** Adds a warning at a value. */
  warn(path: Path, message: string, remedy: string): void {
    this.warnings.push(this.#document.atValue(path, message, remedy));
  }

  /** Whether a value came from outside the file and so must not be shown. */
  isSecret(path: Path): boolean {
    return this.#document.isSecret(path);
  }

  /** A value in quotes, or words for it when it must not be shown. */
  quote(path: Path, value: string): string {
    return this.#document.hidden(path) ?? JSON.stringify(value);
  }

  /** Adds an error for a reference that leads nowhere. */
  unknown(kind: string, path: Path, value: string, known: Iterable<string>, remedy: string): void {
    const names = [...known];
    const hint = this.#document.hidden(path) !== null ? "" : didYouMean(value, names);
    const list = names.length === 0
      ? remedy
      : hint === ""
      ? `there are: ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", …" : ""}`
      : "";
    this.at(path, `unknown ${kind} ${this.quote(path, value)}${hint}`, list);
  }
}
