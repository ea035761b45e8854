/**
 * Sets up the uses of a plugin, where the plugin runs: checks each configuration, then calls `setup`.
 *
 * @module
 */
import type { Plugin, SchemaIssue } from "../plugin/plugin.ts";
import type { EndpointList } from "../plugin/upstream.ts";
import { type LogSink, makeLog, type ReadyUse } from "./context.ts";
import { clip, describeError } from "./values.ts";
import { MAX_TEXT } from "./protocol.ts";

/** Issues that are passed on; a schema may find thousands. */
const MAX_ISSUES = 20;

/** Why a use could not be set up. Plain data. */
export interface SetupFailure {
  /** Which use. */
  readonly use: number;
  /** One sentence. */
  readonly message: string;
  /** What the plugin's schema found: path and message. */
  readonly issues: readonly (readonly [string, string])[];
  /** The stack of what was thrown, or empty. */
  readonly stack: string;
}

/** What {@linkcode setUpUse} takes. */
export interface SetUpOptions {
  readonly plugin: Plugin;
  /** Which use. */
  readonly use: number;
  /** As written under `with:`. */
  readonly config: unknown;
  /** Name under which it runs. */
  readonly name: string;
  readonly directory: string;
  readonly log: LogSink;
  /** Takes the endpoints that the plugin names. */
  readonly setEndpoints: (list: EndpointList) => void;
}

/** Sets up one use; says what failed instead of throwing. */
export async function setUpUse(options: SetUpOptions): Promise<ReadyUse | SetupFailure> {
  const { plugin, use, name, directory, setEndpoints } = options;
  const log = makeLog(options.log);
  try {
    const checked = await checkConfig(plugin, options.config);
    if ("issues" in checked) {
      return { use, message: "its configuration is not valid", issues: checked.issues, stack: "" };
    }
    const { config } = checked;
    const state = await plugin.setup?.({ name, config, directory, log, setEndpoints });
    return { config, state, log, setEndpoints };
  } catch (error) {
    return {
      use,
      message: `setup failed: ${describeError(error, MAX_TEXT)}`,
      issues: [],
      stack: stackOf(error),
    };
  }
}

/** Whether {@linkcode setUpUse} failed. */
export function isFailure(result: ReadyUse | SetupFailure): result is SetupFailure {
  return "issues" in result;
}

/** The stack of an error, cut to what is useful. */
export function stackOf(error: unknown): string {
  try {
    return error instanceof Error ? clip(String(error.stack ?? ""), MAX_TEXT) : "";
  } catch {
    return "";
  }
}

async function checkConfig(
  plugin: Plugin,
  written: unknown,
): Promise<{ config: unknown } | { issues: [string, string][] }> {
  if (plugin.config === undefined) {
    const empty = written === undefined || written === null ||
      (typeof written === "object" && Object.keys(written).length === 0);
    if (empty) return { config: undefined };
    return { issues: [["", "the plugin takes no configuration"]] };
  }
  // Without `with:` a schema of defaults alone shall pass, and a mapping is what all of them are.
  const result = await plugin.config["~standard"].validate(written ?? {});
  if (result.issues === undefined) return { config: result.value };
  return { issues: result.issues.slice(0, MAX_ISSUES).map(readIssue) };
}

function readIssue(issue: SchemaIssue): [string, string] {
  let path = "";
  for (const part of issue.path ?? []) {
    const key = typeof part === "object" ? part.key : part;
    if (typeof key === "number" || /^\d+$/.test(String(key))) path += `[${String(key)}]`;
    else path += path === "" ? String(key) : `.${String(key)}`;
  }
  return [clip(path, 256), clip(String(issue.message), 1024)];
}
