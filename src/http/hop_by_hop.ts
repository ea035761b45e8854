/**
 * Taking off what concerns one connection only, before anybody looks at a message.
 *
 * Stripped at the moment a message is received, and only then: a field that Sluice adds later can therefore
 * not be named in `Connection` by a client and lost on the way (CVE-2026-105299).
 *
 * @module
 */
import {
  CONNECTION,
  CONTENT_LENGTH,
  fieldId,
  IS_HOP_BY_HOP,
  IS_PROTECTED,
  UNKNOWN,
} from "./field_names.ts";
import type { Fields } from "./fields.ts";

/** `Connection: close` was given. */
export const OPTION_CLOSE = 1;
/** `Connection: keep-alive` was given. */
export const OPTION_KEEP_ALIVE = 2;
/** `Connection: upgrade` was given. */
export const OPTION_UPGRADE = 4;

let toStrip = 1 << CONTENT_LENGTH;
for (let id = 1; id < 32; id++) if (IS_HOP_BY_HOP[id] === 1) toStrip |= 1 << id;

/** Bit `1 << id` of every field that makes {@linkcode stripHopByHop} necessary. */
export const TO_STRIP: number = toStrip;

/**
 * Removes hop-by-hop fields, what `Connection` names (RFC 9110 §7.6.1) and Content-Length.
 *
 * A protected field stays even if it is named: taking it off would change who is asked, or by whom.
 *
 * @returns The `OPTION_*` bits of `Connection`.
 */
export function stripHopByHop(fields: Fields): number {
  let options = 0;
  let named: Set<string> | null = null;
  for (let i = 0; i < fields.entries; i++) {
    const id = fields.idAt(i);
    if (id <= UNKNOWN) continue;
    if (id === CONNECTION) {
      if (fields.valueIsAt(i, "keep-alive")) options |= OPTION_KEEP_ALIVE;
      else if (fields.valueIsAt(i, "close")) options |= OPTION_CLOSE;
      else {
        for (const part of fields.valueAt(i).split(",")) {
          const option = part.trim().toLowerCase();
          if (option === "close") options |= OPTION_CLOSE;
          else if (option === "keep-alive") options |= OPTION_KEEP_ALIVE;
          else if (option === "upgrade") options |= OPTION_UPGRADE;
          else if (option !== "" && IS_PROTECTED[fieldId(option)] !== 1) {
            (named ??= new Set()).add(option);
          }
        }
      }
    }
    if (IS_HOP_BY_HOP[id] === 1 || id === CONTENT_LENGTH) fields.removeAt(i);
  }
  if (named !== null) {
    for (let i = 0; i < fields.entries; i++) {
      if (fields.idAt(i) >= 0 && named.has(fields.nameAt(i))) fields.removeAt(i);
    }
  }
  return options;
}
