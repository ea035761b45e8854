/**
 * The changes of one hook call, on their way from the sandbox to the session.
 *
 * @module
 */
import type { Fields } from "../http/fields.ts";
import { checkTarget } from "../http/message.ts";
import type { HostSession } from "../plugin/handler.ts";
import type { Cloneable, Failure } from "../plugin/session.ts";
import { checkField, checkMethod, isSingle } from "./field_rules.ts";
import {
  APPEND,
  DELETE,
  EFFECT,
  MAX_EFFECT_BYTES,
  MAX_EFFECTS,
  MAX_NAME,
  MAX_VALUE_BYTES,
  METHOD,
  type PhaseShape,
  ProtocolError,
  RESPONSE,
  RETRY,
  SECTIONS,
  SET,
  SKIP_BODY,
  STATUS,
  TARGET,
  UPSTREAM_REQUEST,
  UPSTREAM_RESPONSE,
  VAR_DELETE,
  VAR_SET,
} from "./protocol.ts";
import { copyValue, sizeOf } from "./values.ts";

/** What a hook did, kept in the sandbox until the hook is over. */
export class EffectList {
  #list: unknown[] | null = null;
  #bytes = 0;
  #closed = false;

  /** The effects on the wire, or `null` if there are none. Nothing can be added after. */
  close(): unknown[] | null {
    this.#closed = true;
    return this.#list;
  }

  /**
   * @throws {RangeError} If it is more than one call may do.
   * @throws {TypeError} If the hook has ended.
   */
  push(code: number, a: unknown, b: unknown, c: unknown): void {
    if (this.#closed) throw new TypeError("Cannot change the session: the hook has ended");
    const list = this.#list ??= [];
    if (list.length >= MAX_EFFECTS * EFFECT) {
      throw new RangeError(
        `Cannot change the session: one call makes at most ${MAX_EFFECTS} changes`,
      );
    }
    this.#bytes += effectSize(code, a, b, c);
    if (this.#bytes > MAX_EFFECT_BYTES) {
      throw new RangeError(
        `Cannot change the session: the changes of one call hold at most ${MAX_EFFECT_BYTES} bytes`,
      );
    }
    list.push(code, a, b, c);
  }
}

function effectSize(code: number, a: unknown, b: unknown, c: unknown): number {
  if (code === VAR_SET) return (a as string).length + sizeOf(b as Cloneable);
  let size = 16;
  if (typeof a === "string") size += a.length;
  if (typeof b === "string") size += b.length;
  if (typeof c === "string") size += c.length;
  return size;
}

/**
 * Checks effects that came out of a sandbox. Vars are replaced by copies, in place.
 *
 * @returns The effects, or `null` if there are none.
 * @throws {ProtocolError} If they are not what this phase may do.
 * @throws {TypeError} If a name or value is not allowed where it stands.
 */
export function checkEffects(effects: unknown, shape: PhaseShape): unknown[] | null {
  if (effects === null) return null;
  if (!Array.isArray(effects)) throw new ProtocolError("its changes are not a list");
  const { length } = effects;
  if (length > MAX_EFFECTS * EFFECT || length % EFFECT !== 0) {
    throw new ProtocolError(`its list of changes has ${length} entries`);
  }
  let bytes = 0;
  for (let i = 0; i < length; i += EFFECT) {
    const code: unknown = effects[i];
    const a: unknown = effects[i + 1];
    const b: unknown = effects[i + 2];
    const c: unknown = effects[i + 3];
    if (typeof code !== "number") throw new ProtocolError("a change has no code");
    if (code === VAR_SET) {
      if (!isName(a)) throw new ProtocolError("a var has no name");
      effects[i + 2] = copyValue(b, MAX_VALUE_BYTES, `the var ${JSON.stringify(a)}`);
    } else {
      checkEffect(code, a, b, c, shape);
    }
    bytes += effectSize(code, a, b, c);
    if (bytes > MAX_EFFECT_BYTES) {
      throw new ProtocolError(`its changes hold more than ${MAX_EFFECT_BYTES} bytes`);
    }
  }
  return effects;
}

function checkEffect(code: number, a: unknown, b: unknown, c: unknown, shape: PhaseShape): void {
  switch (code) {
    case SET:
    case APPEND:
      checkSection(a, shape);
      if (typeof b !== "string" || typeof c !== "string") {
        throw new ProtocolError("a field is not text");
      }
      return checkField(b, c);
    case DELETE:
      checkSection(a, shape);
      if (!isName(b)) throw new ProtocolError("a field has no name");
      return;
    case METHOD:
    case TARGET:
      if (shape.section !== UPSTREAM_REQUEST) break;
      checkSection(shape.section, shape);
      if (typeof a !== "string") throw new ProtocolError("a method or target is not text");
      return code === METHOD ? checkMethod(a) : checkTarget(a);
    case STATUS:
      if (shape.section !== RESPONSE && shape.section !== UPSTREAM_RESPONSE) break;
      checkSection(shape.section, shape);
      if (typeof a !== "number") throw new ProtocolError("a status is not a number");
      return;
    case SKIP_BODY:
      if (shape.section !== RESPONSE && shape.section !== UPSTREAM_RESPONSE) break;
      return checkSection(shape.section, shape);
    case VAR_DELETE:
      if (!isName(a)) throw new ProtocolError("a var has no name");
      return;
    case RETRY:
      if (!shape.retry) break;
      if (typeof a !== "boolean") throw new ProtocolError("retry is not true or false");
      return;
  }
  throw new ProtocolError(`it made change ${code}, which ${shape.phase} has not`);
}

function checkSection(section: unknown, shape: PhaseShape): void {
  if (section !== shape.section || !shape.mutable) {
    throw new ProtocolError(`it changed what ${shape.phase} may not change`);
  }
}

function isName(name: unknown): name is string {
  return typeof name === "string" && name.length <= MAX_NAME;
}

/**
 * Applies checked effects. Fields are changed without a second look: what a hook may do to them was asked before.
 *
 * @throws {TypeError} If the session refuses one.
 */
export function applyEffects(
  effects: readonly unknown[],
  shape: PhaseShape,
  session: HostSession,
  failure: Failure | null,
): void {
  for (let i = 0; i < effects.length; i += EFFECT) {
    const a = effects[i + 1];
    const b = effects[i + 2] as string;
    switch (effects[i] as number) {
      case SET:
        fieldsOf(session, a as number).set(b, effects[i + 3] as string);
        break;
      case APPEND:
        if (isSingle(b)) fieldsOf(session, a as number).set(b, effects[i + 3] as string);
        else fieldsOf(session, a as number).append(b, effects[i + 3] as string);
        break;
      case DELETE:
        fieldsOf(session, a as number).delete(b);
        break;
      case METHOD:
        session.upstreamRequest.method = a as string;
        break;
      case TARGET:
        session.upstreamRequest.target = a as string;
        break;
      case STATUS:
        if (shape.section === RESPONSE) session.response.status = a as number;
        else session.upstreamResponse.status = a as number;
        break;
      case SKIP_BODY:
        if (shape.section === RESPONSE) session.response.skipBody();
        else session.upstreamResponse.skipBody();
        break;
      case VAR_SET:
        session.vars.set(a as string, effects[i + 2] as Cloneable);
        break;
      case VAR_DELETE:
        session.vars.delete(a as string);
        break;
      case RETRY:
        if (failure !== null) failure.retry = a as boolean;
        break;
    }
  }
}

function fieldsOf(session: HostSession, section: number): Fields {
  const fields = session.fields(SECTIONS[section]!);
  if (fields === null) throw new TypeError("Cannot change a field: there are none yet");
  return fields;
}
