/**
 * Errors of a service worker that nobody catches: logged and counted, and no reason to drop all connections.
 *
 * @module
 */
import { logger } from "../observe/log.ts";

let seen = 0;

/** How many there have been in this thread. */
export function strayErrors(): number {
  return seen;
}

/** Keeps one bad promise of one plugin or one request from ending the worker. */
export function guardWorker(): void {
  self.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    seen++;
    logger("service").error("A promise was rejected and nobody listened", { error: event.reason });
  });
  self.addEventListener("error", (event) => {
    event.preventDefault();
    seen++;
    logger("service").error("An error was thrown outside of any request", { error: event.error });
  });
}
