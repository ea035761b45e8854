/**
 * Reads a field section in place (RFC 9112 §5): of a request, of a response, of trailers.
 *
 * One pass over the bytes. The result is left in {@linkcode section}, to be picked up at once.
 *
 * @module
 */
import { type ErrorType, ProxyError } from "../base/error.ts";
import { ENTRY, giveIndex, takeIndex } from "../http/field_index.ts";
import { Fields } from "../http/fields.ts";
import { fieldIdOf } from "../http/field_names.ts";
import { CLASS, COLON, CR, HTAB, LF, SPACE, TOKEN, VALUE } from "../http/grammar.ts";

/** Returned by parsers when the bytes end before the head does. */
export const INCOMPLETE = -1;

/** What bounds a section, and which errors it makes. */
export interface SectionRules {
  /** Most fields. */
  readonly fields: number;
  readonly malformed: ErrorType;
  readonly tooMany: ErrorType;
  /** What it is the section of, for messages: `Request head`. */
  readonly what: string;
}

/** What {@linkcode parseFieldSection} found. Overwritten by the next call. */
export const section: {
  count: number;
  /** Bit `1 << id` for every known field with an id below 32. */
  seen: number;
  /** The same for those that came more than once. */
  repeated: number;
  /** The first entry of every id in `seen`. */
  readonly first: Int32Array;
} = { count: 0, seen: 0, repeated: 0, first: new Int32Array(32) };

let index: Int32Array | null = null;

/**
 * Reads `name: value CRLF` lines up to and with the empty line.
 *
 * @returns The position behind the empty line, or {@linkcode INCOMPLETE}.
 * @throws {ProxyError} If it is malformed or has too many fields.
 */
export function parseFieldSection(
  bytes: Uint8Array,
  position: number,
  end: number,
  rules: SectionRules,
): number {
  const table = CLASS;
  const most = rules.fields * ENTRY;
  let entries = index ??= takeIndex(0);
  let capacity = entries.length;
  let at = 0;
  let seen = 0;
  let repeated = 0;
  for (;;) {
    const nameStart = position;
    while (position < end && (table[bytes[position]!]! & TOKEN) !== 0) position++;
    if (position >= end) return INCOMPLETE;
    if (bytes[position] !== COLON || position === nameStart) {
      if (bytes[position] !== CR || position !== nameStart) {
        throw badName(rules, bytes[position]!, position === nameStart);
      }
      if (position + 1 === end) return INCOMPLETE;
      if (bytes[position + 1] !== LF) throw malformed(rules, "bare CR");
      section.count = at / ENTRY;
      section.seen = seen;
      section.repeated = repeated;
      return position + 2;
    }
    const nameEnd = position++;
    while (position < end && (bytes[position] === SPACE || bytes[position] === HTAB)) position++;
    const valueStart = position;
    while (position < end && (table[bytes[position]!]! & VALUE) !== 0) position++;
    if (position + 1 >= end) return INCOMPLETE;
    if (bytes[position] !== CR || bytes[position + 1] !== LF) {
      throw badValue(rules, bytes[position]!);
    }
    let valueEnd = position;
    while (
      valueEnd > valueStart && (bytes[valueEnd - 1] === SPACE || bytes[valueEnd - 1] === HTAB)
    ) valueEnd--;
    position += 2;
    if (at === most) {
      throw new ProxyError(rules.tooMany, `${rules.what}: more than ${rules.fields} fields`);
    }
    if (at === capacity) {
      entries = growIndex(rules.fields);
      capacity = entries.length;
    }
    const id = fieldIdOf(bytes, nameStart, nameEnd);
    entries[at] = nameStart;
    entries[at + 1] = nameEnd;
    entries[at + 2] = valueStart;
    entries[at + 3] = valueEnd;
    entries[at + 4] = id;
    if (id !== 0 && id < 32) {
      const bit = 1 << id;
      if ((seen & bit) !== 0) repeated |= bit;
      else {
        seen |= bit;
        section.first[id] = at / ENTRY;
      }
    }
    at += ENTRY;
  }
}

/** Makes fields of what was parsed last. Once per parse: the index is theirs from then on. */
export function takeFields(bytes: Uint8Array): Fields {
  const fields = new Fields(bytes, section.count, index);
  index = null;
  return fields;
}

/** Where the value of an entry of the last parse starts. */
export function valueStartOf(entry: number): number {
  return index![entry * ENTRY + 2]!;
}

/** Where the value of an entry of the last parse ends. */
export function valueEndOf(entry: number): number {
  return index![entry * ENTRY + 3]!;
}

function growIndex(fields: number): Int32Array {
  const old = index!;
  const next = takeIndex(Math.max(fields, old.length / ENTRY + 1));
  next.set(old);
  giveIndex(old);
  return index = next;
}

function malformed(rules: SectionRules, problem: string): ProxyError {
  return new ProxyError(rules.malformed, `${rules.what}: ${problem}`);
}

function badName(rules: SectionRules, byte: number, atStart: boolean): ProxyError {
  if (byte === LF) return malformed(rules, "bare LF");
  if (byte === CR) return malformed(rules, "a field has no colon");
  if (byte === COLON) return malformed(rules, "a field has no name");
  if (byte === SPACE || byte === HTAB) {
    return malformed(
      rules,
      atStart ? "a field is folded over lines (obs-fold)" : "white space before the colon",
    );
  }
  return malformed(rules, `byte 0x${byte.toString(16).padStart(2, "0")} in a field name`);
}

function badValue(rules: SectionRules, byte: number): ProxyError {
  if (byte === LF) return malformed(rules, "bare LF");
  if (byte === CR) return malformed(rules, "bare CR");
  return malformed(rules, `byte 0x${byte.toString(16).padStart(2, "0")} in a field value`);
}
