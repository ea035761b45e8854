/**
 * A config without a file: plugins, one listener, one upstream.
 *
 * @module
 */
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import type { FindPlugins, FoundPlugin } from "./found_plugins.ts";
import type { ConfigError } from "./errors.ts";
import { freeze } from "./freeze.ts";
import type { LoadResult } from "./load.ts";
import { normalize } from "./normalize.ts";
import { FILE_SCHEMA } from "./schema.ts";

/** What the flags say. */
export interface Flags {
  /** Folder of plugins, relative to the working directory. */
  readonly plugins?: string | undefined;
  /** Default `127.0.0.1:8080`. */
  readonly listen?: string | undefined;
  /** Where requests go; without it, plugins must answer. */
  readonly upstream?: string | undefined;
  /** Default: as many as there are cores. */
  readonly threads?: number | undefined;
  /** `off`, `stdout` or a file. Default `off`. */
  readonly accessLog?: string | undefined;
  /** Where the admin interface listens. Default: there is none. */
  readonly admin?: string | undefined;
  /** What the plugins of the folder may do. Default: nothing. */
  readonly grant?: "as-requested" | undefined;
  /** Whether to go on in the background. Default `false`. */
  readonly daemon?: boolean | undefined;
}

const NAMES: Readonly<Record<string, string>> = {
  listeners: "--listen",
  upstreams: "--upstream",
  server: "--threads",
  telemetry: "--access-log",
  admin: "--admin",
};

/**
 * Makes a config from flags.
 *
 * @param findPlugins Lists the plugins of a folder.
 * @returns The frozen config, or what is wrong with the flags; `file` of an error is then the flag.
 */
export async function configFromFlags(
  flags: Flags,
  findPlugins: FindPlugins,
): Promise<LoadResult> {
  const toAbsolute = (path: string): string => resolve(path);
  let plugins: readonly FoundPlugin[] = [];
  const errors: ConfigError[] = [];
  if (flags.plugins !== undefined) {
    try {
      plugins = await findPlugins(toAbsolute(flags.plugins));
    } catch (error) {
      const remedy = (error as { remedy?: unknown }).remedy;
      errors.push(flagError(
        "--plugins",
        error instanceof Error ? error.message : String(error),
        typeof remedy === "string" ? remedy : "",
      ));
    }
  }
  const names = plugins.map((plugin) => plugin.name);
  const result = FILE_SCHEMA.safeParse({
    server: flags.threads === undefined ? {} : { threads: flags.threads },
    listeners: [{ name: "http", address: flags.listen ?? "127.0.0.1:8080" }],
    services: [{
      name: "edge",
      routes: [{ id: "all", ...(flags.upstream === undefined ? {} : { upstream: "upstream" }) }],
    }],
    upstreams: flags.upstream === undefined
      ? []
      : [{ name: "upstream", endpoints: [flags.upstream] }],
    ...(flags.plugins === undefined ? {} : {
      plugins: {
        directory: flags.plugins,
        grant: flags.grant === undefined
          ? {}
          : Object.fromEntries(names.map((name) => [name, flags.grant])),
      },
    }),
    ...(flags.admin === undefined ? {} : { admin: { listen: flags.admin } }),
    telemetry: { access_log: flags.accessLog === undefined ? {} : { output: flags.accessLog } },
  });
  if (!result.success) {
    for (const issue of result.error.issues) {
      const flag = NAMES[String(issue.path[0])] ?? "flags";
      errors.push(flagError(flag, describe(issue), ""));
    }
  } else if (result.data.admin !== "off" && result.data.admin.listen?.kind === "tcp") {
    errors.push(flagError(
      "--admin",
      "over TCP it needs a token, which flags would show to everybody",
      "give unix:/path, or a config file",
    ));
  } else if (flags.upstream === undefined && plugins.length === 0 && errors.length === 0) {
    errors.push(flagError(
      "flags",
      "requests would lead nowhere",
      "give --upstream URL, --plugins DIR with a plugin that answers, or -c FILE",
    ));
  }
  if (!result.success || errors.length > 0) return { errors };
  return {
    config: freeze(normalize(result.data, {
      document: null,
      plugins,
      cores: availableParallelism(),
      resolve: toAbsolute,
      adminSocket: null,
      daemon: flags.daemon,
      file: () => "",
    })),
  };
}

interface FlagIssue {
  readonly code?: string;
  readonly message: string;
  readonly params?: unknown;
  readonly errors?: readonly (readonly FlagIssue[])[];
}

function describe(issue: object): string {
  const { message, params, errors } = issue as FlagIssue;
  const inner = errors?.flat().find((one) => {
    const why = one.params as { why?: string; kind?: boolean } | undefined;
    return why !== undefined && why.kind !== true;
  });
  if (inner !== undefined) return describe(inner);
  const why = (params as { why?: string } | undefined)?.why ?? "";
  return why === "" ? `expected ${message}` : `expected ${message}: ${why}`;
}

function flagError(flag: string, message: string, remedy: string): ConfigError {
  return { file: flag, line: 0, column: 0, length: 0, source: "", message, remedy };
}
