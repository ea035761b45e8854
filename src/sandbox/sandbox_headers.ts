/**
 * The fields of a snapshot, with the changes kept as effects.
 *
 * @module
 */
import { Fields } from "../http/fields.ts";
import type { MutableHeaders } from "../plugin/session.ts";
import type { EffectList } from "./effects.ts";
import { checkField, isSingle } from "./field_rules.ts";
import { APPEND, DELETE, SET } from "./protocol.ts";

/** Fields in a sandbox. They are parsed when somebody looks at them. */
export class SandboxHeaders implements MutableHeaders {
  readonly #block: string;
  readonly #section: number;
  readonly #effects: EffectList | null;
  readonly #refusal: string;
  #fields: Fields | null = null;

  /**
   * @param effects Where changes go; `null`: there may be none.
   * @param refusal What is said then.
   */
  constructor(block: string, section: number, effects: EffectList | null, refusal: string) {
    this.#block = block;
    this.#section = section;
    this.#effects = effects;
    this.#refusal = refusal;
  }

  get #parsed(): Fields {
    return this.#fields ??= Fields.fromBlock(this.#block);
  }

  /** Gives the memory of the index back. What is read later is parsed once more, without the changes. */
  release(): void {
    this.#fields?.release();
    this.#fields = null;
  }

  get(name: string): string | null {
    return this.#parsed.get(name);
  }

  getAll(name: string): string[] {
    return this.#parsed.getAll(name);
  }

  has(name: string): boolean {
    return this.#parsed.has(name);
  }

  set(name: string, value: string): void {
    const effects = this.#change("set a field");
    const text = String(value);
    checkField(name, text);
    effects.push(SET, this.#section, name, text);
    this.#parsed.set(name, text);
  }

  append(name: string, value: string): void {
    if (isSingle(name)) return this.set(name, value);
    const effects = this.#change("append a field");
    const text = String(value);
    checkField(name, text);
    effects.push(APPEND, this.#section, name, text);
    this.#parsed.append(name, text);
  }

  delete(name: string): boolean {
    const effects = this.#change("delete a field");
    if (!this.#parsed.has(name)) return false;
    effects.push(DELETE, this.#section, name, undefined);
    return this.#parsed.delete(name);
  }

  [Symbol.iterator](): Iterator<[string, string]> {
    return this.#parsed[Symbol.iterator]();
  }

  #change(action: string): EffectList {
    if (this.#effects === null) throw new TypeError(`Cannot ${action} ${this.#refusal}`);
    return this.#effects;
  }
}
