/**
 * Functions that belong to objects which do not live long.
 *
 * @module
 */

/**
 * Gives back `callback`, which keeps it out of the heap's old space.
 *
 * V8 takes a function literal that is assigned to a property (`socket.onread = () => …`) for a method that stays, and
 * makes it among the old objects. There only a full collection finds out that it is garbage; until then it keeps
 * its context alive, the objects in it, and all that hangs on those: every short collection copies requests and
 * connections that were over long ago. A literal that is an argument, or that a class field begins with, is like any
 * other new object.
 */
export function young<Callback>(callback: Callback): Callback {
  return callback;
}
