/**
 * `run`: the proxy in the foreground.
 *
 * @module
 */
import { resolve } from "node:path";
import { formatWarnings } from "../config/errors.ts";
import { configFromFlags } from "../config/flags.ts";
import type { Config } from "../config/types.ts";
import { rightsText } from "./describe.ts";
import type { LoadResult } from "../config/load.ts";
import { DaemonError, daemonHint, isDaemon } from "../server/daemon.ts";
import { isSuccessor } from "../server/handover.ts";
import { pluginErrors } from "../server/plugin_problems.ts";
import { configFile, errorText, read } from "./load.ts";
import { CliExit, count, EXIT, type Output, table } from "./output.ts";
import type { PluginProblem, Program, ReadyInfo } from "./program.ts";

/** Flags of `run`. */
export interface RunFlags {
  readonly config?: string;
  readonly plugins?: string;
  readonly listen?: string;
  readonly upstream?: string;
  readonly grant?: "as-requested";
  readonly threads?: number;
  readonly accessLog?: string;
  readonly watch?: boolean;
  readonly admin?: string;
  readonly daemon?: boolean;
}

/** Runs until a signal; as a daemon, until another process does. */
export async function run(flags: RunFlags, program: Program, output: Output): Promise<void> {
  const source = sourceOf(flags, program);
  const result = await source.read();
  if (result.errors !== undefined) throw new CliExit(source.exit, errorText(result.errors));
  const { config, warnings = [] } = result;
  // Who started it in the background has said them.
  if (!isDaemon()) output.err(formatWarnings(warnings));
  if (config.server.daemon && !isDaemon() && !isSuccessor()) {
    return await runInBackground(config, program, output);
  }
  await serve(config, program, output, { load: source.read, file: source.file });
}

/** Starts the process that is to serve, and says which one it is when it does. */
async function runInBackground(config: Config, program: Program, output: Output): Promise<void> {
  if (config.accessLog.output === "stdout") {
    throw new CliExit(
      EXIT.usage,
      "error: a daemon has no standard output: name a file with --access-log\n",
    );
  }
  const hint = daemonHint();
  if (hint !== "") output.err(`warning: ${hint}`);
  if (config.log.file === null) {
    output.err("warning: server.error_log is not set: what happens from now on is told nobody\n");
  }
  try {
    const pid = await program.startDaemon({
      timeout: config.server.daemonReadyTimeout,
      out: output.out,
      err: output.err,
    });
    output.out(`sluice runs in the background as process ${pid}\n`);
  } catch (error) {
    if (!(error instanceof DaemonError)) throw error;
    throw new CliExit(error.code ?? EXIT.runtime, `error: ${error.message}\n`);
  }
}

/** Where the config comes from; it is read again for each reload. */
interface ConfigSource {
  readonly file: string | null;
  read(): Promise<LoadResult>;
  /** Exit code when something is wrong with it. */
  readonly exit: number;
}

function sourceOf(flags: RunFlags, program: Program): ConfigSource {
  const bare = flags.plugins ?? flags.listen ?? flags.upstream ?? flags.grant ?? flags.admin;
  if (flags.config !== undefined && bare !== undefined) {
    throw new CliExit(
      EXIT.usage,
      "error: -c FILE stands against --plugins, --listen, --upstream, --grant and --admin: the file says it all\n",
    );
  }
  if (bare !== undefined) {
    return {
      file: null,
      async read() {
        const result = await configFromFlags(flags, program.findPlugins);
        return result.errors === undefined
          ? { ...result, config: watched(result.config, flags) }
          : result;
      },
      exit: EXIT.usage,
    };
  }
  const file = configFile(flags.config);
  const absolute = resolve(file);
  const { accessLog } = flags;
  const own = accessLog === undefined || accessLog === "off" || accessLog === "stdout"
    ? flags
    : { ...flags, accessLog: resolve(accessLog) };
  return {
    file: absolute,
    async read() {
      // As it was named, for messages, unless the program works in another folder by now.
      const result = await read(
        resolve(file) === absolute ? file : absolute,
        program,
        flags.daemon,
      );
      return result.errors === undefined
        ? { ...result, config: watched(override(result.config, own), own) }
        : result;
    },
    exit: EXIT.config,
  };
}

/** `--watch` reloads when something changes, whatever the config says. */
function watched(config: Config, { watch }: RunFlags): Config {
  return watch === true ? { ...config, server: { ...config.server, watch } } : config;
}

/** `--threads`, `--access-log` and `--watch` also hold over a file. */
function override(config: Config, flags: RunFlags): Config {
  const { threads, accessLog } = flags;
  return {
    ...config,
    ...(threads === undefined ? {} : {
      server: { ...config.server, threads },
      services: config.services.map((service) => ({ ...service, threads })),
    }),
    ...(accessLog === undefined ? {} : {
      accessLog: {
        ...config.accessLog,
        output: accessLog === "off" || accessLog === "stdout"
          ? accessLog
          : { file: resolve(accessLog) },
      },
    }),
  };
}

/** What {@linkcode serve} takes besides the config. */
export interface ServeOptions {
  /** Reads the config again, for a reload. */
  readonly load?: () => Promise<LoadResult>;
  /** The config file. */
  readonly file?: string | null;
  /** Said after all that is said when it is ready. */
  readonly hint?: string;
}

/** Runs a config, and says on stderr when it is ready. */
export async function serve(
  config: Config,
  program: Program,
  output: Output,
  { load, file = null, hint = "" }: ServeOptions = {},
): Promise<void> {
  try {
    const interrupted = await program.runServer(config, {
      signals: true,
      load,
      file,
      onReady: (info) => output.err(readyText(config, info) + hint),
    });
    if (interrupted) throw new CliExit(EXIT.interrupted);
  } catch (error) {
    const { problems } = error as { problems?: readonly PluginProblem[] };
    if (problems === undefined) throw error;
    throw new CliExit(EXIT.config, errorText(pluginErrors(problems, config)));
  }
}

function readyText(config: Config, info: ReadyInfo): string {
  const where = info.listeners.map((one) => one.address).join(", ");
  const routes = config.services.reduce((sum, service) => sum + service.routes.length, 0);
  const head = `sluice is ready on ${where} (${count(routes, "route")}, ${
    count(info.plugins.length, "plugin")
  })\n`;
  const { metrics, admin } = info.operations;
  const rows = [
    ...(metrics === null ? [] : [["metrics", metrics]]),
    ...(admin === null ? [] : [["admin", admin]]),
    ...info.plugins.map((plugin) => [
      `plugin ${plugin.name}`,
      plugin.isolation,
      `may: ${rightsText(plugin.granted)}`,
    ]),
  ];
  return rows.length === 0 ? head : head + table(rows, "  ");
}
