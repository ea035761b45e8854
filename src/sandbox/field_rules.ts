/**
 * What hooks may do to fields, methods and targets: the same in a sandbox, where it is checked as the hook
 * does it, and where the effects arrive, because what arrives may come from anybody.
 *
 * @module
 */
import { isAuthority } from "../http/authority.ts";
import { CONTENT_LENGTH, fieldId, HOST, IS_HOP_BY_HOP } from "../http/field_names.ts";
import { checkFieldName, checkFieldValue, FieldError } from "../http/field_checks.ts";

const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$/;

/**
 * Checks a field that a hook sets.
 *
 * @throws {FieldError} If it is malformed, or one that Sluice writes from what is really sent.
 */
export function checkField(name: string, value: string): void {
  checkFieldName(name);
  checkFieldValue(name, value);
  const id = fieldId(name.toLowerCase());
  if (id === CONTENT_LENGTH || IS_HOP_BY_HOP[id] === 1) {
    throw new FieldError(`Cannot set field "${name}": Sluice writes it from what is really sent`);
  }
  if (id === HOST && !isAuthority(value)) {
    throw new FieldError(
      `Cannot set field "host": ${JSON.stringify(value)} is not a host and port`,
    );
  }
}

/** Whether a field may stand only once, so that a second replaces the first. */
export function isSingle(name: string): boolean {
  return fieldId(name.toLowerCase()) === HOST;
}

/**
 * Checks a method that a hook sets.
 *
 * @throws {TypeError} If it is not a token, or is CONNECT.
 */
export function checkMethod(method: string): void {
  if (!METHOD.test(method) || method === "CONNECT") {
    throw new TypeError(`Cannot set the method: ${JSON.stringify(method)} is not one to forward`);
  }
}

/**
 * Checks a status that a hook gives a response.
 *
 * @throws {TypeError} If it is not final, or would change whether the response has content.
 */
export function checkStatus(from: number, to: number): void {
  if (
    !Number.isInteger(to) || to < 200 || to > 599 || from < 200 ||
    (to === 204 || to === 304) !== (from === 204 || from === 304)
  ) throw new TypeError(`Cannot set the status: ${from} cannot become ${to}`);
}
