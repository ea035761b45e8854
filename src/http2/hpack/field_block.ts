/**
 * A decoded field section: pseudo-fields, then `name: value CRLF` lines as HTTP/1 writes them.
 *
 * @module
 */
import { giveBuffer, SMALL_BUFFER, takeBuffer } from "../../base/buffer_pool.ts";
import { HOST } from "../../http/field_names.ts";
import { ENTRY, takeIndex } from "../../http/field_index.ts";
import { Fields, latin1 } from "../../http/fields.ts";
import { AUTHORITY, NOT_PSEUDO, PSEUDO_NAMES } from "./static_table.ts";

const PSEUDO_END = PSEUDO_NAMES.length;
const HOST_LINE = new TextEncoder().encode("host: ");

/** What the decoder fills. Reused for one section after the other, unless its bytes were handed on. */
export class FieldBlock {
  /** The lines. `bytes[linesStart, length)` are the fields behind the pseudo-fields, ready for HTTP/1. */
  bytes: Uint8Array = takeBuffer(SMALL_BUFFER);
  length = 0;
  /** How many fields there are, pseudo-fields not counted. */
  count = 0;
  /** Name and value bytes plus 32 for each field (RFC 9113 §6.5.2), also of those that were not kept. */
  listBytes = 0;
  /** Whether the section is over the limits and what came then was not kept; to be answered with 431. */
  tooLarge = false;
  /** Why this is not a message (RFC 9113 §8.1.1), or `null`. */
  malformed: string | null = null;
  /** Bit `1 << id` for every known field with an id below 32. */
  seen = 0;
  /** The same for those that came more than once. */
  repeated = 0;
  /** Bit `1 << number` for every pseudo-field that came. */
  pseudoSeen = 0;
  /** Entries that must never be indexed on the way on (RFC 7541 §6.2.3), or `null` if there are none. */
  neverIndexed: number[] | null = null;
  #index: Int32Array = takeIndex(0);
  /** How many entries are left free at the front: one for Host, if `:authority` may become it. */
  #spare = 0;
  readonly #pseudo = new Int32Array(PSEUDO_END * 2);

  /** Empties it for the next section. */
  reset(): void {
    this.length = 0;
    this.count = 0;
    this.listBytes = 0;
    this.tooLarge = false;
    this.malformed = null;
    this.seen = 0;
    this.repeated = 0;
    this.pseudoSeen = 0;
    this.neverIndexed = null;
    this.#spare = 0;
  }

  /** Where the first field that is not a pseudo-field begins. */
  get linesStart(): number {
    return this.count === 0 ? this.length : this.#index[this.#spare * ENTRY]!;
  }

  /** Start of the value of a pseudo-field in `bytes`, or `-1`. */
  pseudoStart(number: number): number {
    return (this.pseudoSeen & 1 << number) === 0 ? -1 : this.#pseudo[number * 2]!;
  }

  /** End of the value of a pseudo-field in `bytes`, or `-1`. */
  pseudoEnd(number: number): number {
    return (this.pseudoSeen & 1 << number) === 0 ? -1 : this.#pseudo[number * 2 + 1]!;
  }

  /** The value of a pseudo-field, or `null`. */
  pseudo(number: number): string | null {
    if ((this.pseudoSeen & 1 << number) === 0) return null;
    return latin1(this.bytes, this.#pseudo[number * 2]!, this.#pseudo[number * 2 + 1]!);
  }

  /** The value of the first field of an id that is in `seen`. */
  first(id: number): string {
    const index = this.#index;
    const end = (this.count + this.#spare) * ENTRY;
    for (let at = this.#spare * ENTRY; at < end; at += ENTRY) {
      if (index[at + 4] === id) return latin1(this.bytes, index[at + 2]!, index[at + 3]!);
    }
    return "";
  }

  /** Makes `:authority` the first field, by the name of Host: its value stays where it lies. */
  authorityToHost(): void {
    const valueStart = this.#pseudo[AUTHORITY * 2]!;
    const start = valueStart - HOST_LINE.length;
    for (let i = 0; i < HOST_LINE.length; i++) this.bytes[start + i] = HOST_LINE[i]!;
    const index = this.#index;
    this.#spare = 0;
    index[0] = start;
    index[1] = start + HOST_LINE.length - 2;
    index[2] = valueStart;
    index[3] = this.#pseudo[AUTHORITY * 2 + 1]!;
    index[4] = HOST;
    this.count++;
    this.seen |= 1 << HOST;
    if (this.neverIndexed === null) return;
    for (let i = 0; i < this.neverIndexed.length; i++) this.neverIndexed[i]!++;
  }

  /**
   * Hands the fields over with the bytes they lie in. The block takes new ones and is empty afterwards;
   * read pseudo-fields before, or from the bytes with the positions that were taken before. Who is done with the
   * fields may give the bytes back to the pool.
   */
  takeFields(): Fields {
    if (this.#spare > 0) this.#index.copyWithin(0, ENTRY, (this.count + 1) * ENTRY);
    const fields = new Fields(this.bytes, this.count, this.#index);
    fields.neverIndexed = this.neverIndexed;
    this.bytes = takeBuffer(SMALL_BUFFER);
    this.#index = takeIndex(0);
    this.reset();
    return fields;
  }

  /** Makes room for `length` bytes behind `this.length`. */
  reserve(length: number): void {
    const needed = this.length + length;
    if (this.bytes.length >= needed) return;
    const next = takeBuffer(needed);
    // All of it: behind `length` lies the line that is being put together.
    next.set(this.bytes);
    giveBuffer(this.bytes);
    this.bytes = next;
  }

  /** Keeps the line that lies behind `length`; called by the decoder. */
  keep(
    nameLength: number,
    valueLength: number,
    id: number,
    pseudo: number,
    never: boolean,
  ): void {
    const start = this.length;
    const valueStart = start + nameLength + 2;
    const valueEnd = valueStart + valueLength;
    this.length = valueEnd + 2;
    if (pseudo !== NOT_PSEUDO) {
      const bit = 1 << pseudo;
      if (this.count > 0) {
        this.malformed ??= `${PSEUDO_NAMES[pseudo]} comes after a field (RFC 9113 §8.3)`;
      } else if ((this.pseudoSeen & bit) !== 0) {
        this.malformed ??= `${PSEUDO_NAMES[pseudo]} comes twice (RFC 9113 §8.3)`;
      } else {
        this.pseudoSeen |= bit;
        this.#pseudo[pseudo * 2] = valueStart;
        this.#pseudo[pseudo * 2 + 1] = valueEnd;
      }
      return;
    }
    // Pseudo-fields have all come.
    if (this.count === 0) this.#spare = this.pseudoSeen >>> AUTHORITY & 1;
    const at = (this.count + this.#spare) * ENTRY;
    if (at === this.#index.length) this.#growIndex();
    const index = this.#index;
    index[at] = start;
    index[at + 1] = start + nameLength;
    index[at + 2] = valueStart;
    index[at + 3] = valueEnd;
    index[at + 4] = id;
    if (never) (this.neverIndexed ??= []).push(this.count);
    this.count++;
    // Unknown fields have id 0, whose bit nobody reads. There are ids beyond the bits, which must not wrap around.
    const bit = id < 32 ? 1 << id : 0;
    this.repeated |= this.seen & bit;
    this.seen |= bit;
  }

  #growIndex(): void {
    const next = takeIndex(this.count * 2);
    next.set(this.#index);
    this.#index = next;
  }
}
