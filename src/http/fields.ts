/**
 * The field section of a message: ordered, case-keeping, and cheap to pass on.
 *
 * A parsed section stays where it was received. An entry is five numbers that point into those bytes;
 * changes lie over them. What nobody touched goes out as it came in, copied in as few runs as possible,
 * and a string is made only for what somebody reads. See RFC 9110 §5.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { copyBytes } from "../base/bytes.ts";
import { checkFieldName, checkFieldValue } from "./field_checks.ts";
import { copyRun, isContiguous } from "./field_runs.ts";
import { ENTRY, giveIndex, INDEX_ENTRIES, takeIndex } from "./field_index.ts";
import { fieldId, fieldIdOf, isLookalike, UNKNOWN } from "./field_names.ts";
import { COLON, CR, HTAB, LF, SPACE } from "./grammar.ts";

const REMOVED = -1;

const NO_BYTES = new Uint8Array(0);

/** An ordered list of fields. */
export class Fields {
  #bytes: Uint8Array;
  #index: Int32Array | null;
  #count: number;
  /** Replacement values of raw entries, by entry number. */
  #replaced: Map<number, string> | null = null;
  /** Appended fields: name, value, name, value… */
  #added: string[] | null = null;
  /** Their ids. */
  #addedIds: number[] | null = null;
  /** Whose index this is, if it is only borrowed: a copy that changes no raw entry needs none of its own. */
  #owner: Fields | null = null;
  /** How many borrow ours. */
  #lent = 0;
  /** Raw entries, in order, that their sender wants in no compression table (RFC 7541 §6.2.3); `null`: none. */
  neverIndexed: readonly number[] | null = null;

  /**
   * @param bytes What the index points into; must stay as it is for as long as these fields are used.
   */
  constructor(bytes: Uint8Array = NO_BYTES, count: number = 0, index: Int32Array | null = null) {
    this.#bytes = bytes;
    this.#count = count;
    this.#index = index;
  }

  /** Makes fields from pairs, checking each. For tests, rules and answers of our own. */
  static from(pairs: Iterable<readonly [string, string]>): Fields {
    let block = "";
    for (const [name, value] of pairs) {
      checkFieldName(name);
      block += `${name}: ${checkFieldValue(name, value)}\r\n`;
    }
    return Fields.fromBlock(block);
  }

  /** How many fields there are. */
  get size(): number {
    let size = 0;
    for (let i = 0; i < this.#count; i++) if (this.#index![i * ENTRY + 4]! !== REMOVED) size++;
    return size + (this.#added === null ? 0 : this.#added.length / 2);
  }

  /** How many entries the index holds, removed ones too; see {@linkcode Fields.idAt}. */
  get entries(): number {
    return this.#count;
  }

  /** The id of a raw entry, or a negative number if it was removed. */
  idAt(entry: number): number {
    return this.#index![entry * ENTRY + 4]!;
  }

  /** What raw entries lie in: `index` says where, with {@linkcode ENTRY} numbers for each. For codecs. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** The index of raw entries; not to be changed, nor looked at beyond `entries`. For codecs. */
  get index(): Int32Array | null {
    return this.#index;
  }

  /** The value that a raw entry was given instead of its own, or `undefined`. */
  replacedAt(entry: number): string | undefined {
    return this.#replaced === null ? undefined : this.#replaced.get(entry);
  }

  /** What stands behind the raw entries: name, value, name, value…, or `null`. For codecs. */
  get added(): readonly string[] | null {
    return this.#added;
  }

  /** The ids of the names in `added`. */
  get addedIds(): readonly number[] | null {
    return this.#addedIds;
  }

  /** The lower-case name of a raw entry. */
  nameAt(entry: number): string {
    const at = entry * ENTRY;
    return latin1(this.#bytes, this.#index![at]!, this.#index![at + 1]!).toLowerCase();
  }

  /** Whether a raw entry that is not known has nearly the name of one that is; see {@linkcode isLookalike}. */
  isLookalikeAt(entry: number): boolean {
    const at = entry * ENTRY;
    return isLookalike(this.#bytes, this.#index![at]!, this.#index![at + 1]!);
  }

  /** The value of a raw entry. */
  valueAt(entry: number): string {
    const replaced = this.#replaced?.get(entry);
    if (replaced !== undefined) return replaced;
    const at = entry * ENTRY;
    return latin1(this.#bytes, this.#index![at + 2]!, this.#index![at + 3]!);
  }

  /** Whether a raw entry that nobody has changed has this value, case counting; no string is made of it. */
  valueIsAt(entry: number, value: string): boolean {
    const at = entry * ENTRY;
    const start = this.#index![at + 2]!;
    if (this.#index![at + 3]! - start !== value.length) return false;
    for (let i = 0; i < value.length; i++) {
      if (this.#bytes[start + i] !== value.charCodeAt(i)) return false;
    }
    return true;
  }

  /** Whether every raw entry is as it was received. */
  get isWhole(): boolean {
    if (this.#replaced !== null && this.#replaced.size > 0) return false;
    for (let i = 0; i < this.#count; i++) if (this.idAt(i) === REMOVED) return false;
    return true;
  }

  /** Removes a raw entry. */
  removeAt(entry: number): void {
    if (this.#owner !== null || this.#lent > 0) this.#ownIndex();
    this.#index![entry * ENTRY + 4] = REMOVED;
    this.#replaced?.delete(entry);
  }

  /** A copy over the same bytes, whose changes do not show here. */
  fork(): Fields {
    const copy = new Fields(this.#bytes, this.#count, this.#index);
    if (this.#count > 0) {
      copy.#owner = this.#owner ?? this;
      copy.#owner.#lent++;
    }
    if (this.#replaced !== null && this.#replaced.size > 0) {
      copy.#replaced = new Map(this.#replaced);
    }
    if (this.#added !== null && this.#added.length > 0) {
      copy.#added = this.#added.slice();
      copy.#addedIds = this.#addedIds!.slice();
    }
    copy.neverIndexed = this.neverIndexed;
    return copy;
  }

  /** A copy that owns its bytes and so outlives the buffer they were received in. */
  detach(): Fields {
    const copy = this.fork();
    copy.#bytes = this.#bytes.slice();
    return copy;
  }

  /** Empties the list and gives its index back. The bytes may then be overwritten. */
  release(): void {
    const index = this.#index;
    const borrowed = this.#owner !== null;
    if (borrowed) this.#giveBack();
    this.#index = null;
    this.#count = 0;
    this.#bytes = NO_BYTES;
    this.#replaced = null;
    this.#added = null;
    this.#addedIds = null;
    this.neverIndexed = null;
    // What somebody has borrowed and not given back is left to the garbage collector.
    if (!borrowed && this.#lent === 0 && index !== null) giveIndex(index);
  }

  /** The value of `name`; several are joined by `, ` (RFC 9110 §5.3). `null` if there is none. */
  get(name: string): string | null {
    const lower = name.toLowerCase();
    const id = fieldId(lower);
    let found: string | null = null;
    for (let i = 0; i < this.#count; i++) {
      if (!this.#matches(i, lower, id)) continue;
      found = found === null ? this.valueAt(i) : `${found}, ${this.valueAt(i)}`;
    }
    const added = this.#added;
    if (added !== null) {
      for (let i = 0; i < added.length; i += 2) {
        if (!this.#matchesAdded(i, lower, id)) continue;
        found = found === null ? added[i + 1]! : `${found}, ${added[i + 1]!}`;
      }
    }
    return found;
  }

  /** The values of `name`, one each. Use it for `set-cookie`, which cannot be joined. */
  getAll(name: string): string[] {
    const lower = name.toLowerCase();
    const id = fieldId(lower);
    const values: string[] = [];
    for (let i = 0; i < this.#count; i++) {
      if (this.#matches(i, lower, id)) values.push(this.valueAt(i));
    }
    const added = this.#added;
    if (added !== null) {
      for (let i = 0; i < added.length; i += 2) {
        if (this.#matchesAdded(i, lower, id)) values.push(added[i + 1]!);
      }
    }
    return values;
  }

  /** Whether there is a field `name`. */
  has(name: string): boolean {
    const lower = name.toLowerCase();
    const id = fieldId(lower);
    for (let i = 0; i < this.#count; i++) if (this.#matches(i, lower, id)) return true;
    const added = this.#added;
    if (added !== null) {
      for (let i = 0; i < added.length; i += 2) if (this.#matchesAdded(i, lower, id)) return true;
    }
    return false;
  }

  /** Whether there is a field of a known id. */
  hasId(id: number): boolean {
    const index = this.#index;
    for (let i = 0; i < this.#count; i++) if (index![i * ENTRY + 4]! === id) return true;
    return this.#addedIds !== null && this.#addedIds.includes(id);
  }

  /** The first value of a field by its id, or `null`. The quick form of `get` for the hot path. */
  first(id: number): string | null {
    const index = this.#index;
    for (let i = 0; i < this.#count; i++) {
      if (index![i * ENTRY + 4]! === id) return this.valueAt(i);
    }
    const ids = this.#addedIds;
    if (ids !== null) {
      for (let i = 0; i < ids.length; i++) if (ids[i] === id) return this.#added![2 * i + 1]!;
    }
    return null;
  }

  /**
   * Gives `name` one value, in the place of the first it had, else at the end.
   *
   * @throws {FieldError} If name or value is not allowed in a field.
   */
  set(name: string, value: string): void {
    checkFieldName(name);
    const checked = checkFieldValue(name, value);
    const lower = name.toLowerCase();
    const id = fieldId(lower);
    let placed = false;
    for (let i = 0; i < this.#count; i++) {
      if (!this.#matches(i, lower, id)) continue;
      if (placed) {
        this.removeAt(i);
      } else {
        (this.#replaced ??= new Map()).set(i, checked);
        placed = true;
      }
    }
    if (this.#added !== null) {
      for (let i = 0; i < this.#added.length;) {
        if (!this.#matchesAdded(i, lower, id)) {
          i += 2;
        } else if (placed) {
          this.#dropAdded(i);
        } else {
          this.#added[i + 1] = checked;
          placed = true;
          i += 2;
        }
      }
    }
    if (!placed) this.#add(name, checked, id);
  }

  /**
   * Adds a field at the end.
   *
   * @throws {FieldError} If name or value is not allowed in a field.
   */
  append(name: string, value: string): void {
    checkFieldName(name);
    this.#add(name, checkFieldValue(name, value), fieldId(name.toLowerCase()));
  }

  /**
   * Adds a field that is known to be well-formed; for values that Sluice made itself.
   *
   * @param id The id of the name, for who knows it.
   */
  appendTrusted(name: string, value: string, id: number = fieldId(name.toLowerCase())): void {
    this.#add(name, value, id);
  }

  /** Removes every field `name`; says whether there was one. */
  delete(name: string): boolean {
    const lower = name.toLowerCase();
    const id = fieldId(lower);
    let found = false;
    for (let i = 0; i < this.#count; i++) {
      if (!this.#matches(i, lower, id)) continue;
      this.removeAt(i);
      found = true;
    }
    if (this.#added !== null) {
      for (let i = 0; i < this.#added.length;) {
        if (this.#matchesAdded(i, lower, id)) {
          this.#dropAdded(i);
          found = true;
        } else i += 2;
      }
    }
    return found;
  }

  /** Removes every field of an id. */
  deleteId(id: number): void {
    const index = this.#index;
    for (let i = 0; i < this.#count; i++) if (index![i * ENTRY + 4]! === id) this.removeAt(i);
    if (this.#added !== null) {
      for (let i = 0; i < this.#added.length;) {
        if (this.#addedIds![i / 2] === id) this.#dropAdded(i);
        else i += 2;
      }
    }
  }

  /**
   * Removes every field whose id is marked, in one pass.
   *
   * @returns Bit `1 << id` for every known field that is left, of those with an id below 32.
   */
  sweep(marked: Uint8Array): number {
    let left = 0;
    const index = this.#index;
    for (let i = 0; i < this.#count; i++) {
      const id = index![i * ENTRY + 4]!;
      if (id <= UNKNOWN) continue;
      if (marked[id] === 1) this.removeAt(i);
      else if (id < 32) left |= 1 << id;
    }
    const ids = this.#addedIds;
    if (ids !== null) {
      for (let i = 0; i < ids.length;) {
        const id = ids[i]!;
        if (marked[id] === 1) {
          this.#dropAdded(2 * i);
          continue;
        }
        if (id !== UNKNOWN && id < 32) left |= 1 << id;
        i++;
      }
    }
    return left;
  }

  /** All fields in order, names in the case they have on the wire. */
  *[Symbol.iterator](): IterableIterator<[string, string]> {
    for (let i = 0; i < this.#count; i++) {
      const at = i * ENTRY;
      if (this.#index![at + 4]! === REMOVED) continue;
      yield [latin1(this.#bytes, this.#index![at]!, this.#index![at + 1]!), this.valueAt(i)];
    }
    const added = this.#added;
    if (added !== null) {
      for (let i = 0; i < added.length; i += 2) yield [added[i]!, added[i + 1]!];
    }
  }

  /** An upper bound of what `writeTo` writes. */
  get byteLength(): number {
    let length = 0;
    if (this.#count > 0) {
      const index = this.#index!;
      length = index[(this.#count - 1) * ENTRY + 3]! - index[0]! + 4 + this.#count * 3;
    }
    if (this.#replaced !== null) {
      for (const value of this.#replaced.values()) length += value.length;
    }
    const added = this.#added;
    if (added !== null) {
      for (let i = 0; i < added.length; i += 2) {
        length += added[i]!.length + added[i + 1]!.length + 4;
      }
    }
    return length;
  }

  /**
   * Writes `name: value CRLF` for each field, without the empty line that ends the section.
   *
   * @returns The position behind what was written. `out` must have room for `byteLength` bytes.
   */
  writeTo(out: Uint8Array, position: number): number {
    const count = this.#count;
    if (count > 0) {
      const index = this.#index!;
      const bytes = this.#bytes;
      let runStart = -1;
      let runEnd = -1;
      for (let i = 0; i < count; i++) {
        const at = i * ENTRY;
        const removed = index[at + 4]! === REMOVED;
        if (!removed && (this.#replaced === null || !this.#replaced.has(i))) {
          const start = index[at]!;
          // White space after a value and the CRLF lie between two neighbours and go along.
          if (runStart >= 0 && isContiguous(bytes, runEnd, start)) {
            runEnd = index[at + 3]!;
            continue;
          }
          if (runStart >= 0) position = copyRun(out, position, bytes, runStart, runEnd);
          runStart = start;
          runEnd = index[at + 3]!;
          continue;
        }
        if (runStart >= 0) {
          position = copyRun(out, position, bytes, runStart, runEnd);
          runStart = -1;
        }
        if (removed) continue;
        position = copyBytes(out, position, bytes, index[at]!, index[at + 1]!);
        position = writeValue(out, position, this.#replaced!.get(i)!);
      }
      if (runStart >= 0) position = copyRun(out, position, bytes, runStart, runEnd);
    }
    const added = this.#added;
    if (added !== null) {
      for (let i = 0; i < added.length; i += 2) {
        position = writeLatin1(out, position, added[i]!);
        position = writeValue(out, position, added[i + 1]!);
      }
    }
    return position;
  }

  /** The section as one latin-1 string of `name: value CRLF` lines. */
  toBlock(): string {
    const out = Buffer.allocUnsafe(this.byteLength);
    return latin1(out, 0, this.writeTo(out, 0));
  }

  /** The opposite of `toBlock`. The block is trusted to be well-formed. */
  static fromBlock(block: string): Fields {
    const bytes = Buffer.from(block, "latin1");
    const end = bytes.length;
    let index = takeIndex(INDEX_ENTRIES);
    let count = 0;
    for (let position = 0; position < end; count++) {
      const at = count * ENTRY;
      if (at === index.length) {
        const larger = new Int32Array(index.length * 2);
        larger.set(index);
        index = larger;
      }
      // By hand, because `indexOf` of a Buffer costs ten times as much on so few bytes.
      let colon = position;
      while (colon < end && bytes[colon] !== COLON) colon++;
      // As they were received: with any white space around the value, or none.
      let from = colon + 1;
      while (from < end && (bytes[from] === SPACE || bytes[from] === HTAB)) from++;
      let close = from;
      while (close < end && bytes[close] !== CR) close++;
      let to = close;
      while (to > from && (bytes[to - 1] === SPACE || bytes[to - 1] === HTAB)) to--;
      index[at] = position;
      index[at + 1] = colon;
      index[at + 2] = from;
      index[at + 3] = to;
      index[at + 4] = fieldIdOf(bytes, position, colon);
      position = close + 2;
    }
    return new Fields(bytes, count, index);
  }

  #add(name: string, value: string, id: number): void {
    (this.#added ??= []).push(name, value);
    (this.#addedIds ??= []).push(id);
  }

  #dropAdded(at: number): void {
    this.#added!.splice(at, 2);
    this.#addedIds!.splice(at / 2, 1);
  }

  /** Makes the index our own, before it is changed. */
  #ownIndex(): void {
    const length = this.#count * ENTRY;
    const index = takeIndex(this.#count);
    index.set(this.#index!.subarray(0, length));
    if (this.#owner !== null) this.#giveBack();
    this.#index = index;
    // Who has borrowed the old one keeps it.
    this.#lent = 0;
  }

  #giveBack(): void {
    const owner = this.#owner!;
    this.#owner = null;
    if (owner.#index === this.#index) owner.#lent--;
  }

  #matchesAdded(at: number, lower: string, id: number): boolean {
    const addedId = this.#addedIds![at / 2]!;
    if (id !== UNKNOWN || addedId !== UNKNOWN) return addedId === id;
    return this.#added![at]!.toLowerCase() === lower;
  }

  #matches(entry: number, lower: string, id: number): boolean {
    const at = entry * ENTRY;
    const index = this.#index!;
    const entryId = index[at + 4]!;
    if (id !== UNKNOWN || entryId !== UNKNOWN) return entryId === id;
    const start = index[at]!;
    if (index[at + 1]! - start !== lower.length) return false;
    const bytes = this.#bytes;
    for (let i = 0; i < lower.length; i++) {
      const c = bytes[start + i]!;
      if ((c >= 65 && c <= 90 ? c | 32 : c) !== lower.charCodeAt(i)) return false;
    }
    return true;
  }
}

// Not in the published types, yet four times as fast as any public way to the same string.
const latin1Slice = (Buffer.prototype as unknown as {
  latin1Slice(this: Uint8Array, start: number, end: number): string;
}).latin1Slice;

/** Reads bytes as latin-1, the only decoding under which every field value survives a round trip. */
export function latin1(bytes: Uint8Array, start: number, end: number): string {
  return latin1Slice.call(bytes, start, end);
}

/** Writes a string whose characters are all below U+0100; returns the position behind it. */
export function writeLatin1(out: Uint8Array, position: number, text: string): number {
  for (let i = 0; i < text.length; i++) out[position++] = text.charCodeAt(i);
  return position;
}

/** Writes what stands behind a name: `: value CRLF`; returns the position behind it. */
export function writeValue(out: Uint8Array, position: number, value: string): number {
  out[position++] = COLON;
  out[position++] = SPACE;
  position = writeLatin1(out, position, value);
  out[position++] = CR;
  out[position++] = LF;
  return position;
}
