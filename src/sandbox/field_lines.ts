/**
 * A field section in a sandbox: lines as they were sent, and how long names and values are.
 *
 * Nothing is parsed to look one up. Fields of the request to the upstream that are those of the request itself
 * are not sent twice: their place is all that is said of them.
 *
 * @module
 */
import { ENTRY, takeIndex } from "../http/field_index.ts";
import { fieldIdOf } from "../http/field_names.ts";
import { Fields, latin1 } from "../http/fields.ts";

/** Bytes per line in the table of lengths. */
export const LINE: number = 8;
/** The length of a name that stands in the other section. */
export const ELSEWHERE = -1;

/** A table of lengths, and lines `name: value CRLF`. */
export class FieldLines {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #text: number;
  readonly #table: number;
  readonly #count: number;
  /** Where lines that stand elsewhere are. */
  readonly #base: FieldLines | null;
  // The line that `#next` has come to.
  #line = 0;
  #from = 0;
  #nameLength = 0;
  #valueLength = 0;
  /** Where the next line begins. */
  #at = 0;

  /**
   * @param bytes Must stay as they are.
   * @param text Where the lines begin.
   * @param table Where their lengths are: of name and value, or `-1` and the place in `base`.
   */
  constructor(
    bytes: Uint8Array<ArrayBuffer>,
    text: number,
    table: number,
    count: number,
    base: FieldLines | null,
  ) {
    this.#bytes = bytes;
    this.#text = text;
    this.#table = table;
    this.#count = count;
    this.#base = base;
  }

  /** The values of `name`, joined; `null` if there is none. */
  get(name: string): string | null {
    const lower = name.toLowerCase();
    let found: string | null = null;
    this.#rewind();
    while (this.#find(lower)) {
      const value = this.#value();
      found = found === null ? value : `${found}, ${value}`;
    }
    return found;
  }

  /** The values of `name`, one each. */
  getAll(name: string): string[] {
    const lower = name.toLowerCase();
    const values: string[] = [];
    this.#rewind();
    while (this.#find(lower)) values.push(this.#value());
    return values;
  }

  /** Whether there is a field `name`. */
  has(name: string): boolean {
    this.#rewind();
    return this.#find(name.toLowerCase());
  }

  /** The section as fields that can be changed. */
  toFields(): Fields {
    const lengths: number[] = [];
    const base = this.#base;
    if (base === null) {
      this.#rewind();
      while (this.#next()) lengths.push(this.#nameLength, this.#valueLength);
      return fieldsOf(this.#bytes, this.#text, lengths);
    }
    let text = "";
    this.#rewind();
    while (this.#next()) {
      const { bytes, from } = this.#source();
      lengths.push(this.#nameLength, this.#valueLength);
      text += latin1(bytes, from, from + this.#nameLength + this.#valueLength + 4);
    }
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return fieldsOf(bytes, 0, lengths);
  }

  #rewind(): void {
    this.#line = 0;
    this.#at = this.#text;
    if (this.#base !== null) this.#base.#rewind();
  }

  /** Goes to the next line; says whether there is one. */
  #next(): boolean {
    if (this.#line === this.#count) return false;
    const at = this.#table + this.#line++ * LINE;
    const nameLength = this.#int(at);
    const valueLength = this.#int(at + 4);
    if (nameLength === ELSEWHERE) {
      // They come in the order that they have there, so it is only walked once.
      const base = this.#base!;
      do if (!base.#next()) return false; while (base.#line <= valueLength);
      this.#from = -1;
      this.#nameLength = base.#nameLength;
      this.#valueLength = base.#valueLength;
      return true;
    }
    this.#from = this.#at;
    this.#nameLength = nameLength;
    this.#valueLength = valueLength;
    this.#at += nameLength + valueLength + 4;
    return true;
  }

  /** Goes to the next line of that name; says whether there is one. */
  #find(lower: string): boolean {
    const { length } = lower;
    while (this.#next()) {
      if (this.#nameLength !== length) continue;
      const elsewhere = this.#from < 0;
      const bytes = elsewhere ? this.#base!.#bytes : this.#bytes;
      const from = elsewhere ? this.#base!.#from : this.#from;
      let i = 0;
      while (i < length) {
        const c = bytes[from + i]!;
        if ((c >= 65 && c <= 90 ? c | 32 : c) !== lower.charCodeAt(i)) break;
        i++;
      }
      if (i === length) return true;
    }
    return false;
  }

  #source(): { readonly bytes: Uint8Array; readonly from: number } {
    return this.#from < 0
      ? { bytes: this.#base!.#bytes, from: this.#base!.#from }
      : { bytes: this.#bytes, from: this.#from };
  }

  #value(): string {
    const { bytes, from } = this.#source();
    const start = from + this.#nameLength + 2;
    return latin1(bytes, start, start + this.#valueLength);
  }

  #int(at: number): number {
    const b = this.#bytes;
    return b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24);
  }
}

/**
 * Fields over lines whose lengths are known.
 *
 * @param bytes Must stay as they are for as long as the fields are used.
 * @param start Where the first line begins.
 * @param lengths Of name and value of each line.
 */
function fieldsOf(bytes: Uint8Array, start: number, lengths: readonly number[]): Fields {
  const count = lengths.length / 2;
  const index = takeIndex(count);
  let position = start;
  for (let i = 0; i < count; i++) {
    const at = i * ENTRY;
    const colon = position + lengths[2 * i]!;
    const close = colon + 2 + lengths[2 * i + 1]!;
    index[at] = position;
    index[at + 1] = colon;
    index[at + 2] = colon + 2;
    index[at + 3] = close;
    index[at + 4] = fieldIdOf(bytes, position, colon);
    position = close + 2;
  }
  return new Fields(bytes, count, index);
}
