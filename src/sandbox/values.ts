/**
 * Values that may cross: plain data of bounded size, rebuilt so that nothing of the sender's own is in them.
 *
 * @module
 */
import type { Cloneable } from "../plugin/session.ts";

/** Nesting of arrays and objects. */
const MAX_DEPTH = 16;
/** What one value costs besides its text or bytes. */
const NODE = 8;

/** A value is not plain data, or too much of it. */
export class ValueError extends TypeError {
  override readonly name: string = "ValueError";
}

/**
 * Copies a value that can be sent between threads.
 *
 * @param limit Bytes and characters that it may hold together.
 * @param what Names the value in the message.
 * @throws {ValueError} If it holds anything but plain data, is nested too deeply or is too large.
 */
export function copyValue(value: unknown, limit: number, what: string): Cloneable {
  const budget = { left: limit };
  return copy(value, budget, 0, limit, what);
}

/** Bytes and characters that a checked value holds. */
export function sizeOf(value: Cloneable): number {
  if (typeof value === "string") return NODE + value.length;
  if (typeof value !== "object" || value === null || value instanceof Date) return NODE;
  if (value instanceof Uint8Array) return NODE + value.byteLength;
  let size = NODE;
  if (Array.isArray(value)) {
    for (const one of value) size += sizeOf(one);
  } else {
    for (const [key, one] of Object.entries(value)) size += key.length + sizeOf(one);
  }
  return size;
}

function spend(budget: { left: number }, amount: number, limit: number, what: string): void {
  budget.left -= amount;
  if (budget.left < 0) throw new ValueError(`${what} is larger than ${limit} bytes`);
}

function copy(
  value: unknown,
  budget: { left: number },
  depth: number,
  limit: number,
  what: string,
): Cloneable {
  spend(budget, NODE, limit, what);
  switch (typeof value) {
    case "undefined":
    case "boolean":
    case "number":
      return value;
    case "bigint":
      spend(budget, value.toString(16).length, limit, what);
      return value;
    case "string":
      spend(budget, value.length, limit, what);
      return value;
    case "object":
      break;
    default:
      throw new ValueError(`${what} holds a ${typeof value}, which cannot be copied`);
  }
  if (value === null) return null;
  if (isBytes(value)) {
    spend(budget, value.byteLength, limit, what);
    return new Uint8Array(value);
  }
  if (value instanceof Date) return new Date(value.getTime());
  if (depth >= MAX_DEPTH) {
    throw new ValueError(`${what} is nested more than ${MAX_DEPTH} levels deep`);
  }
  if (Array.isArray(value)) {
    spend(budget, value.length * NODE, limit, what);
    const list: Cloneable[] = [];
    for (let i = 0; i < value.length; i++) {
      list.push(copy(value[i], budget, depth + 1, limit, what));
    }
    return list;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) {
    throw new ValueError(`${what} holds an object that is not plain data`);
  }
  const object: Record<string, Cloneable> = {};
  for (const key of Object.keys(value)) {
    spend(budget, key.length, limit, what);
    // An assignment to this name would set a prototype instead of a property.
    if (key === "__proto__") throw new ValueError(`${what} holds a property named __proto__`);
    object[key] = copy(
      (value as Record<string, unknown>)[key],
      budget,
      depth + 1,
      limit,
      what,
    );
  }
  return object;
}

/** Whether a value is bytes that nobody else can change: memory that is shared is not. */
export function isBytes(value: unknown): value is Uint8Array<ArrayBuffer> {
  return value instanceof Uint8Array && value.buffer instanceof ArrayBuffer;
}

/** Cuts a text that goes into messages and logs. */
export function clip(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** What a thrown value says of itself. Never throws, whatever was thrown. */
export function describeError(error: unknown, most: number): string {
  try {
    if (error instanceof Error) {
      const name = String(error.name);
      const message = String(error.message);
      return clip(message === "" ? name : `${name}: ${message}`, most);
    }
    return clip(`threw ${typeof error === "string" ? JSON.stringify(error) : String(error)}`, most);
  } catch {
    return "threw something that has no text";
  }
}
