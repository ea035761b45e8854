/**
 * `check`: would this config run? Binds nothing.
 *
 * @module
 */
import { type ConfigError, formatWarnings } from "../config/errors.ts";
import { loadConfig } from "../config/load.ts";
import { outsideTexts } from "../config/outside.ts";
import { shownFields } from "../config/shown.ts";
import type { Config } from "../config/types.ts";
import { summarizeListener } from "./describe_listener.ts";
import { describeConfig, matchText } from "./describe.ts";
import { summarizeUpstream } from "./describe_upstream.ts";
import { pluginErrors } from "../server/plugin_problems.ts";
import { errorText } from "./load.ts";
import { CliExit, count, EXIT, type Output } from "./output.ts";
import type { Inspection, Program } from "./program.ts";

/** Loads the config, the plugins and their configs, and prints what it found. */
export async function check(
  file: string,
  json: boolean,
  program: Program,
  output: Output,
): Promise<void> {
  const result = await loadConfig(file, Deno.env.toObject(), { findPlugins: program.findPlugins });
  if (result.errors !== undefined) fail(result.errors, json, output);
  const { config } = result;
  const inspection: Inspection = config.plugins.length === 0
    ? { reports: [], errors: [] }
    : await program.inspectPlugins(config);
  if (inspection.errors.length > 0) fail(pluginErrors(inspection.errors, config), json, output);
  const { warnings = [] } = result;
  if (json) {
    const all = { ...summary(config, inspection), warnings: plain(warnings) };
    output.out(`${JSON.stringify(all, null, 2)}\n`);
    return;
  }
  output.err(formatWarnings(warnings));
  output.out(
    `${describeConfig(config, inspection.reports)}\n${file}: no errors${
      warnings.length === 0 ? "" : `, ${count(warnings.length, "warning")}`
    }\n`,
  );
}

function fail(errors: readonly ConfigError[], json: boolean, output: Output): never {
  if (!json) throw new CliExit(EXIT.config, errorText(errors));
  output.out(`${JSON.stringify({ ok: false, errors: plain(errors) }, null, 2)}\n`);
  throw new CliExit(EXIT.config);
}

function plain(found: readonly ConfigError[]) {
  return found.map(({ file, line, column, message, remedy }) => ({
    file,
    line,
    column,
    message,
    remedy,
  }));
}

function summary(config: Config, inspection: Inspection) {
  return {
    ok: true,
    errors: [],
    process: {
      user: config.server.identity,
      daemon: config.server.daemon,
      pidFile: config.server.pidFile?.path ?? null,
    },
    listeners: config.listeners.map((listener) =>
      summarizeListener(listener, config, inspection.reports)
    ),
    services: config.services.map((service) => ({
      name: service.name,
      threads: service.threads,
      listeners: service.listeners,
      routes: service.routes.map((route) => ({
        id: route.id,
        match: {
          ...route.match,
          ...(route.match.header === undefined
            ? {}
            : { header: shownFields(route.match.header, outsideTexts(config)) }),
        },
        matches: matchText(route.match, config),
        upstream: route.upstream,
        split: route.split,
        mirrors: route.mirrors,
        timeouts: route.timeouts,
        retry: route.retry,
        hedge: route.hedge,
        plugins: route.plugins.map((use) => config.plugins[use.plugin]!.name),
      })),
    })),
    upstreams: config.upstreams.map(summarizeUpstream),
    plugins: inspection.reports,
  };
}
