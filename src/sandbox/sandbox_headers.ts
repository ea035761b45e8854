/**
 * The fields of a snapshot, with the changes kept as effects.
 *
 * @module
 */
import type { Fields } from "../http/fields.ts";
import type { MutableHeaders } from "../plugin/session.ts";
import type { EffectList } from "./effects.ts";
import { checkField, isSingle } from "./field_rules.ts";
import { APPEND, DELETE, SET } from "./protocol.ts";
import type { FieldLines } from "./field_lines.ts";

/** Fields in a sandbox. They are parsed when one is changed and then somebody looks. */
export class SandboxHeaders implements MutableHeaders {
  /** What was sent; good for as long as nothing is changed. */
  readonly #lines: FieldLines;
  readonly #section: number;
  readonly #effects: EffectList | null;
  readonly #refusal: string;
  #fields: Fields | null = null;
  /** Changes that were made before anybody looked: a hook that only sets has nothing parsed. */
  #unseen: ((fields: Fields) => void)[] | null = null;

  /**
   * @param effects Where changes go; `null`: there may be none.
   * @param refusal What is said then.
   */
  constructor(
    lines: FieldLines,
    section: number,
    effects: EffectList | null,
    refusal: string,
  ) {
    this.#lines = lines;
    this.#section = section;
    this.#effects = effects;
    this.#refusal = refusal;
  }

  /** What there is to read: fields as soon as something was changed. */
  get #current(): FieldLines | Fields {
    return this.#fields ?? (this.#unseen === null ? this.#lines : this.#parsed);
  }

  get #parsed(): Fields {
    if (this.#fields !== null) return this.#fields;
    const fields = this.#fields = this.#lines.toFields();
    const unseen = this.#unseen;
    this.#unseen = null;
    if (unseen !== null) { for (const change of unseen) change(fields); }
    return fields;
  }

  /** Gives the memory of the index back. What is read later is as it was sent, without the changes. */
  release(): void {
    this.#fields?.release();
    this.#fields = null;
    this.#unseen = null;
  }

  get(name: string): string | null {
    return this.#current.get(name);
  }

  getAll(name: string): string[] {
    return this.#current.getAll(name);
  }

  has(name: string): boolean {
    return this.#current.has(name);
  }

  set(name: string, value: string): void {
    const effects = this.#change("set a field");
    const text = String(value);
    checkField(name, text);
    effects.push(SET, this.#section, name, text);
    this.#apply((fields) => fields.set(name, text));
  }

  append(name: string, value: string): void {
    if (isSingle(name)) return this.set(name, value);
    const effects = this.#change("append a field");
    const text = String(value);
    checkField(name, text);
    effects.push(APPEND, this.#section, name, text);
    this.#apply((fields) => fields.append(name, text));
  }

  delete(name: string): boolean {
    const effects = this.#change("delete a field");
    if (!this.#current.has(name)) return false;
    effects.push(DELETE, this.#section, name, undefined);
    return this.#parsed.delete(name);
  }

  [Symbol.iterator](): Iterator<[string, string]> {
    return this.#parsed[Symbol.iterator]();
  }

  #apply(change: (fields: Fields) => void): void {
    if (this.#fields === null) (this.#unseen ??= []).push(change);
    else change(this.#fields);
  }

  #change(action: string): EffectList {
    if (this.#effects === null) throw new TypeError(`Cannot ${action} ${this.#refusal}`);
    return this.#effects;
  }
}
