/**
 * Endpoints from a YAML or JSON file, read again when it changes.
 *
 * The folder is watched, because editors and deployments put a new file in the place of the old one. Where watching
 * does not work, as on some network file systems, the regular reading remains.
 *
 * @module
 */
import { parseDocument } from "yaml";
import { ProxyError } from "../../base/error.ts";
import { Deadline } from "../../base/timer_wheel.ts";
import { reason } from "../../transport/io_error.ts";
import { type Discovery, type DiscoveryTools, MOST_BYTES } from "./discovery.ts";
import { parseEndpoints } from "./endpoint_list.ts";
import { type FolderWatch, watchFolder } from "./folder_watch.ts";
import { POLL_SETTINGS, PolledDiscovery, type PollSettings } from "./polled.ts";

/** Settings. Plain data. */
export interface FileConfig extends PollSettings {
  readonly type: "file";
  /** Absolute path; `.json` is read as JSON, everything else as YAML. */
  readonly path: string;
  /** Whether the folder is watched besides the regular reading. */
  readonly watch: boolean;
  /** Whether a list without entries is believed. */
  readonly allowEmpty: boolean;
}

/** Settings where nothing else is said; `path` has no default. */
export const FILE: Omit<FileConfig, "path"> = {
  ...POLL_SETTINGS,
  type: "file",
  watch: true,
  allowEmpty: false,
};

/** Silence after the last change before the file is read: one save is several changes. */
const DEBOUNCE = 100;

/** @throws {ProxyError} `config_error` if the settings make no sense. */
export function createFile(config: FileConfig, tools: DiscoveryTools): Discovery {
  const { path } = config;
  const context = `File ${JSON.stringify(path)}`;
  const slash = path.lastIndexOf("/");
  if (slash < 0) {
    throw new ProxyError("config_error", `${context}: the path must be absolute`, {
      source: "internal",
    });
  }
  const folder = slash === 0 ? "/" : path.slice(0, slash);
  const name = path.slice(slash + 1);
  let watch: FolderWatch | null = null;
  let refresh = () => {};
  const quiet = new Deadline(() => refresh());
  const keepWatching = () => {
    if (!config.watch || watch?.open === true) return;
    watch = watchFolder(folder, (changed) => {
      // Kubernetes swaps a link called `..data` under the files.
      if (changed === name || changed.startsWith("..")) tools.wheel.arm(quiet, DEBOUNCE);
    });
  };
  return new PolledDiscovery({
    ...config,
    tools,
    context,
    read: async ({ signal }) => {
      // Before the file is read, or a change in between would be missed.
      keepWatching();
      const bytes = await readFile(path, context, signal);
      const value = parse(decode(bytes, context), path.endsWith(".json"), context);
      const source = { context, errorType: "config_error", unix: true } as const;
      return { endpoints: parseEndpoints(value, source), next: null };
    },
    onStart: (ask) => {
      refresh = ask;
    },
    onStop: () => {
      tools.wheel.cancel(quiet);
      watch?.close();
    },
  });
}

async function readFile(
  path: string,
  context: string,
  signal: AbortSignal,
): Promise<Uint8Array> {
  try {
    // Opening a pipe would wait for somebody to write to it.
    if (!(await Deno.stat(path)).isFile) throw new Error("it is not a file");
    using file = await Deno.open(path);
    const bytes = new Uint8Array(MOST_BYTES + 1);
    let size = 0;
    while (size < bytes.length) {
      signal.throwIfAborted();
      const read = await file.read(bytes.subarray(size));
      if (read === null) return bytes.subarray(0, size);
      size += read;
    }
    throw new Error(`more than ${MOST_BYTES} bytes`);
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    throw refusal(context, error);
  }
}

function decode(bytes: Uint8Array, context: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new ProxyError("config_error", `${context}: it is not UTF-8`, {
      source: "internal",
      cause: error,
    });
  }
}

function parse(text: string, isJson: boolean, context: string): unknown {
  try {
    if (isJson) return JSON.parse(text);
    const document = parseDocument(text);
    const [error] = document.errors;
    if (error?.code === "MULTIPLE_DOCS") throw new Error("it holds more than one document");
    if (error !== undefined) throw new Error(error.message.split("\n")[0]!.replace(/:$/, ""));
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw refusal(context, error);
  }
}

function refusal(context: string, error: unknown): ProxyError {
  return new ProxyError("config_error", `${context}: ${reason(error)}`, {
    source: "internal",
    cause: error,
  });
}
