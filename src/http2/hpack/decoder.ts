/**
 * Field blocks to fields (RFC 7541 §3), within limits.
 *
 * Two kinds of trouble are kept apart. What leaves the two tables different ends the connection and is
 * thrown. What is only a bad or too large message ends one stream and is noted in the block: the rest is
 * still decoded, because the next block builds on what this one inserted.
 *
 * @module
 */
import { fieldIdOf, UNKNOWN } from "../../http/field_names.ts";
import { COMPRESSION_ERROR, DEFAULT_TABLE_BYTES } from "../constants.ts";
import { Http2Error } from "../error.ts";
import { DynamicTable, ENTRY_OVERHEAD } from "./dynamic_table.ts";
import type { FieldBlock } from "./field_block.ts";
import { isName, isValue } from "./field_class.ts";
import { BAD_HUFFMAN, decodedBound, decodeHuffman } from "./huffman.ts";
import { integer, readInteger } from "./integer.ts";
import {
  NOT_PSEUDO,
  PSEUDO_NAMES,
  STATIC_BYTES,
  STATIC_COUNT,
  STATIC_ID,
  STATIC_NAME,
  STATIC_PSEUDO,
  STATIC_START,
  STATIC_VALUE,
} from "./static_table.ts";

/** Bounds of a decoder. */
export interface DecoderLimits {
  /** Bytes of a field section as RFC 9113 §6.5.2 counts them; over it the block is `tooLarge`. */
  readonly listBytes: number;
  /** Number of fields, pseudo-fields not counted; over it the block is `tooLarge`. */
  readonly fields: number;
  /** Encoded length of one name or value; over it: COMPRESSION_ERROR. */
  readonly stringBytes: number;
}

export const DECODER_LIMITS: DecoderLimits = {
  listBytes: 64 * 1024,
  fields: 200,
  stringBytes: 64 * 1024,
};

const COLON = 58;
const SPACE = 32;
const CR = 13;
const LF = 10;

// What a dynamic entry remembers, so that an indexed field is never looked at again.
const PSEUDO_SHIFT = 8;
const BAD_SHIFT = 12;
const BAD_NAME = 1;
const BAD_VALUE = 2;
const BAD_PSEUDO = 3;
const BAD_REASONS = [
  "",
  "a field name is empty, has upper case or is not a token (RFC 9113 §8.2.1)",
  "a field value holds a control character or has white space around it (RFC 9113 §8.2.1)",
  "a pseudo-field is not known (RFC 9113 §8.3)",
];

const PSEUDO_BYTES = PSEUDO_NAMES.map((name) => new TextEncoder().encode(name));

/** Decodes the field blocks of one connection, in order. */
export class HpackDecoder {
  readonly #limits: DecoderLimits;
  readonly #table: DynamicTable;
  /** What SETTINGS_HEADER_TABLE_SIZE allows. */
  #tableLimit: number;
  /** The size update that the next block must begin with, at most this; `-1` if none is owed. */
  #owed = -1;
  #nameLength = 0;
  #valueLength = 0;
  // Entries of the dynamic table that lie one behind the other and are kept one behind the other: one copy for all.
  #runStart = 0;
  #runEnd = 0;

  /**
   * @param tableLimit The SETTINGS_HEADER_TABLE_SIZE in force at the start; default 4096.
   */
  constructor(
    limits: DecoderLimits = DECODER_LIMITS,
    tableLimit: number = DEFAULT_TABLE_BYTES,
  ) {
    this.#limits = limits;
    this.#tableLimit = tableLimit;
    this.#table = new DynamicTable(tableLimit);
  }

  /** The dynamic table, to be looked at. */
  get table(): DynamicTable {
    return this.#table;
  }

  /** Sets SETTINGS_HEADER_TABLE_SIZE; called when the other side has acknowledged it. */
  setTableLimit(bytes: number): void {
    this.#tableLimit = bytes;
    if (bytes < this.#table.maxSize) {
      this.#owed = this.#owed < 0 ? bytes : Math.min(this.#owed, bytes);
    }
  }

  /**
   * Decodes one whole field block, all its fragments put together, into `block`, which is emptied first.
   *
   * @throws {Http2Error} COMPRESSION_ERROR on the connection if the block cannot be decoded.
   */
  decode(bytes: Uint8Array, start: number, end: number, block: FieldBlock): void {
    block.reset();
    this.#runStart = this.#runEnd = 0;
    let position = start;
    let mayResize = true;
    while (position < end) {
      const first = bytes[position]!;
      if (first >= 32 && first < 64) {
        if (!mayResize) throw bad("a table size update behind a field (RFC 7541 §4.2)");
        this.#resize(readInteger(bytes, position, end, 5));
        position = integer.end;
        continue;
      }
      if (mayResize) {
        mayResize = false;
        if (this.#owed >= 0) throw bad("the table was not made smaller (RFC 7541 §4.2)");
      }
      if (first >= 128) {
        this.#indexed(readInteger(bytes, position, end, 7), block);
        position = integer.end;
      } else {
        this.#copyRun(block);
        position = this.#literal(bytes, position, end, first, block);
      }
    }
    this.#copyRun(block);
  }

  #resize(size: number): void {
    if (size > this.#tableLimit) {
      throw bad(`a table of ${size} bytes, where ${this.#tableLimit} are allowed (RFC 7541 §6.3)`);
    }
    if (this.#owed >= 0 && size <= this.#owed) this.#owed = -1;
    this.#table.resize(size);
  }

  #indexed(index: number, block: FieldBlock): void {
    if (index <= STATIC_COUNT) {
      if (index === 0) throw bad("index 0 (RFC 7541 §6.1)");
      this.#copyRun(block);
      const nameLength = STATIC_NAME[index]!;
      const valueLength = STATIC_VALUE[index]!;
      if (!this.#fits(nameLength, valueLength, block)) return;
      const length = nameLength + valueLength + 4;
      block.reserve(length);
      copy(STATIC_BYTES, STATIC_START[index]!, length, block.bytes, block.length);
      const tag = STATIC_ID[index]! | STATIC_PSEUDO[index]! << PSEUDO_SHIFT;
      this.#keep(nameLength, valueLength, tag, false, block);
      return;
    }
    const table = this.#table;
    const number = index - STATIC_COUNT - 1;
    if (number >= table.count) throw bad(`index ${index} is behind the table (RFC 7541 §2.3.3)`);
    const at = table.start(number);
    const nameLength = table.nameLength(number);
    const valueLength = table.valueLength(number);
    if (!this.#fits(nameLength, valueLength, block)) return;
    const length = nameLength + valueLength + 4;
    block.reserve(length);
    if (at !== this.#runEnd) {
      this.#copyRun(block);
      this.#runStart = this.#runEnd = at;
    }
    const kept = block.length;
    this.#keep(nameLength, valueLength, table.tag(number), false, block);
    if (block.length > kept) this.#runEnd += length;
  }

  /** Copies the lines that were kept without being copied. To be called before anything else is put behind them. */
  #copyRun(block: FieldBlock): void {
    const length = this.#runEnd - this.#runStart;
    if (length > 0) {
      copy(this.#table.bytes, this.#runStart, length, block.bytes, block.length - length);
    }
    this.#runStart = this.#runEnd = 0;
  }

  #literal(
    bytes: Uint8Array,
    position: number,
    end: number,
    first: number,
    block: FieldBlock,
  ): number {
    const insert = first >= 64;
    const index = readInteger(bytes, position, end, insert ? 6 : 4);
    position = integer.end;
    let tag: number;
    // The line is put together behind what is kept already, and stays there if it is kept too.
    if (index === 0) {
      position = this.#readString(bytes, position, end, block, block.length);
      this.#nameLength = this.#valueLength;
      tag = nameTag(block.bytes, block.length, block.length + this.#nameLength);
    } else {
      tag = this.#copyName(index, block);
    }
    const nameLength = this.#nameLength;
    block.reserve(nameLength + 2);
    let at = block.length + nameLength;
    block.bytes[at++] = COLON;
    block.bytes[at++] = SPACE;
    position = this.#readString(bytes, position, end, block, at);
    const valueLength = this.#valueLength;
    const out = block.bytes;
    if (tag >>> BAD_SHIFT === 0 && !isValue(out, at, at + valueLength)) {
      tag |= BAD_VALUE << BAD_SHIFT;
    }
    out[at + valueLength] = CR;
    out[at + valueLength + 1] = LF;
    if (insert) {
      this.#table.insert(out, block.length, nameLength, out, at, valueLength, tag);
    }
    if (this.#fits(nameLength, valueLength, block)) {
      this.#keep(nameLength, valueLength, tag, (first & 0xf0) === 16, block);
    }
    return position;
  }

  #copyName(index: number, block: FieldBlock): number {
    if (index <= STATIC_COUNT) {
      const length = STATIC_NAME[index]!;
      block.reserve(length);
      copy(STATIC_BYTES, STATIC_START[index]!, length, block.bytes, block.length);
      this.#nameLength = length;
      return STATIC_ID[index]! | STATIC_PSEUDO[index]! << PSEUDO_SHIFT;
    }
    const table = this.#table;
    const number = index - STATIC_COUNT - 1;
    if (number >= table.count) throw bad(`index ${index} is behind the table (RFC 7541 §2.3.3)`);
    const length = table.nameLength(number);
    block.reserve(length);
    copy(table.bytes, table.start(number), length, block.bytes, block.length);
    this.#nameLength = length;
    const tag = table.tag(number);
    // What was wrong with the value of that entry says nothing of this one.
    return tag >>> BAD_SHIFT === BAD_VALUE ? tag & (1 << BAD_SHIFT) - 1 : tag;
  }

  /** Reads a string to `block.bytes[at…]`, with room for a line's end; leaves its length in `#valueLength`. */
  #readString(
    bytes: Uint8Array,
    position: number,
    end: number,
    block: FieldBlock,
    at: number,
  ): number {
    const huffman = position < end && bytes[position]! >= 128;
    const length = readInteger(bytes, position, end, 7);
    const start = integer.end;
    if (length > this.#limits.stringBytes) {
      throw bad(`a string of ${length} bytes, where ${this.#limits.stringBytes} are allowed`);
    }
    if (length > end - start) throw bad("the field block ends inside a string (RFC 7541 §5.2)");
    if (huffman) {
      block.reserve(at - block.length + decodedBound(length) + 2);
      const done = decodeHuffman(bytes, start, start + length, block.bytes, at);
      if (done === BAD_HUFFMAN) throw bad("a string is not Huffman coded (RFC 7541 §5.2)");
      this.#valueLength = done - at;
    } else {
      block.reserve(at - block.length + length + 2);
      copy(bytes, start, length, block.bytes, at);
      this.#valueLength = length;
    }
    return start + length;
  }

  #fits(nameLength: number, valueLength: number, block: FieldBlock): boolean {
    block.listBytes += nameLength + valueLength + ENTRY_OVERHEAD;
    if (block.listBytes > this.#limits.listBytes) block.tooLarge = true;
    return !block.tooLarge;
  }

  #keep(
    nameLength: number,
    valueLength: number,
    tag: number,
    never: boolean,
    block: FieldBlock,
  ): void {
    if (tag >>> BAD_SHIFT !== 0) {
      block.malformed ??= BAD_REASONS[tag >>> BAD_SHIFT]!;
      return;
    }
    const pseudo = tag >>> PSEUDO_SHIFT & 15;
    if (pseudo === NOT_PSEUDO && block.count >= this.#limits.fields) {
      block.tooLarge = true;
      return;
    }
    block.keep(nameLength, valueLength, tag & 255, pseudo, never);
  }
}

function nameTag(bytes: Uint8Array, start: number, end: number): number {
  if (end > start && bytes[start] === COLON) {
    for (let pseudo = 1; pseudo < PSEUDO_BYTES.length; pseudo++) {
      if (isSame(bytes, start, end, PSEUDO_BYTES[pseudo]!)) return pseudo << PSEUDO_SHIFT;
    }
    return BAD_PSEUDO << BAD_SHIFT;
  }
  if (!isName(bytes, start, end)) return UNKNOWN | BAD_NAME << BAD_SHIFT;
  return fieldIdOf(bytes, start, end);
}

function isSame(bytes: Uint8Array, start: number, end: number, name: Uint8Array): boolean {
  if (end - start !== name.length) return false;
  for (let i = 0; i < name.length; i++) if (bytes[start + i] !== name[i]) return false;
  return true;
}

/** Copies a range. Short ones byte by byte: a view costs more than that. */
function copy(from: Uint8Array, start: number, length: number, to: Uint8Array, at: number): void {
  if (length > 64) {
    to.set(from.subarray(start, start + length), at);
    return;
  }
  for (let i = 0; i < length; i++) to[at + i] = from[start + i]!;
}

function bad(what: string): Http2Error {
  return new Http2Error(COMPRESSION_ERROR, `cannot decode a field block: ${what}`);
}
