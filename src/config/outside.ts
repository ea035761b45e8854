/**
 * What stands in a config and came from the environment or from a file by a reference.
 *
 * @module
 */
import type { Config } from "./types.ts";

/** Copies of a config have it, too; what is made JSON of, compared or sent to another thread has not. */
const OUTSIDE = Symbol("what came from outside");

/** A config with what came from outside into it. */
export function withOutside(config: Config, texts: readonly string[]): Config {
  const told = texts.filter((text) => text !== "");
  return told.length === 0 ? config : Object.assign({ ...config }, { [OUTSIDE]: told });
}

/** What came from outside into a config: never empty texts. */
export function outsideTexts(config: Config): readonly string[] {
  return (config as { [OUTSIDE]?: readonly string[] })[OUTSIDE] ?? [];
}

/** A message about a config, without what came from outside. Shorter texts are words that stand anywhere. */
export function withoutOutside(message: string, config: Config): string {
  return outsideTexts(config).filter((text) => text.length >= 6)
    .toSorted((a, b) => b.length - a.length)
    .reduce((left, text) => left.replaceAll(text, "(hidden)"), message);
}
