/**
 * Writes a field section for a sandbox, where `FieldLines` reads it.
 *
 * @module
 */
import { copyBytes } from "../base/bytes.ts";
import { ENTRY } from "../http/field_index.ts";
import { copyRun } from "../http/field_runs.ts";
import { type Fields, writeLatin1, writeValue } from "../http/fields.ts";
import { SPACE } from "../http/grammar.ts";
import { ELSEWHERE, LINE } from "./field_lines.ts";

/**
 * Writes `name: value CRLF` for each field, and how long names and values are. Without the white space that fields
 * may have come with, which `Fields.writeTo` passes on.
 *
 * @param out Must have room for `byteLength` bytes of the fields.
 * @param lengths Of name and value of each field, two 32-bit numbers. For a field that stands in `base` as it is:
 * {@linkcode ELSEWHERE}, and its place there.
 * @param at Where in `lengths`, in bytes. There must be room for {@linkcode LINE} bytes for each field.
 * @param base A section that the reader has, or `null`.
 * @returns The position behind what was written to `out`.
 */
export function writeLines(
  fields: Fields,
  out: Uint8Array,
  position: number,
  lengths: DataView,
  at: number,
  base: Fields | null,
): number {
  const count = fields.entries;
  if (count > 0) {
    const index = fields.index!;
    const { bytes } = fields;
    const known = base !== null && base.bytes === bytes && base.entries === count && base.isWhole
      ? base.index!
      : null;
    // Lines that stand behind each other as they are to be written are copied together.
    let runStart = -1;
    let runEnd = -1;
    for (let i = 0; i < count; i++) {
      if (fields.idAt(i) < 0) continue;
      const entry = i * ENTRY;
      const nameStart = index[entry]!;
      const nameEnd = index[entry + 1]!;
      const valueStart = index[entry + 2]!;
      const valueEnd = index[entry + 3]!;
      const value = fields.replacedAt(i);
      if (value === undefined && known !== null && known[entry]! === nameStart) {
        lengths.setInt32(at, ELSEWHERE, true);
        lengths.setInt32(at + 4, i, true);
        at += LINE;
        continue;
      }
      lengths.setInt32(at, nameEnd - nameStart, true);
      lengths.setInt32(at + 4, value === undefined ? valueEnd - valueStart : value.length, true);
      at += LINE;
      if (value === undefined && valueStart - nameEnd === 2 && bytes[nameEnd + 1] === SPACE) {
        if (runStart >= 0 && nameStart - runEnd === 2) {
          runEnd = valueEnd;
          continue;
        }
        if (runStart >= 0) position = copyRun(out, position, bytes, runStart, runEnd);
        runStart = nameStart;
        runEnd = valueEnd;
        continue;
      }
      if (runStart >= 0) {
        position = copyRun(out, position, bytes, runStart, runEnd);
        runStart = -1;
      }
      position = copyBytes(out, position, bytes, nameStart, nameEnd);
      position = writeValue(out, position, value ?? fields.valueAt(i));
    }
    if (runStart >= 0) position = copyRun(out, position, bytes, runStart, runEnd);
  }
  const { added } = fields;
  if (added !== null) {
    for (let i = 0; i < added.length; i += 2) {
      const name = added[i]!;
      const value = added[i + 1]!;
      lengths.setInt32(at, name.length, true);
      lengths.setInt32(at + 4, value.length, true);
      at += LINE;
      position = writeLatin1(out, position, name);
      position = writeValue(out, position, value);
    }
  }
  return position;
}
