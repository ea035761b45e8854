import { loadConfig, type LoadOptions } from "../../src/config/load.ts";
import type { ConfigError } from "../../src/config/errors.ts";
import type { FoundPlugin } from "../../src/config/found_plugins.ts";
import type { Config } from "../../src/config/types.ts";

/** A folder that does not exist, where the files of a test pretend to be. */
const FOLDER = "/pretend";

/** Lists plugins that exist in name only. */
export function pretendPlugins(...names: string[]): (directory: string) => FoundPlugin[] {
  return (directory) =>
    names.map((name) => ({
      name,
      file: `${directory}/${name}.ts`,
      root: `${directory}/${name}.ts`,
    }));
}

/** Loads a config from text, without touching the disk. */
export function loadText(
  text: string,
  options: {
    env?: Record<string, string>;
    files?: Record<string, string>;
    plugins?: string[];
    findPlugins?: NonNullable<LoadOptions["findPlugins"]>;
  } = {},
) {
  const files: Record<string, string> = { [`${FOLDER}/sluice.yaml`]: text };
  for (const [name, content] of Object.entries(options.files ?? {})) {
    files[name.startsWith("/") ? name : `${FOLDER}/${name}`] = content;
  }
  return loadConfig(`${FOLDER}/sluice.yaml`, options.env ?? {}, {
    readFile: (path) => {
      const content = files[path];
      if (content === undefined) throw new Deno.errors.NotFound(path);
      return content;
    },
    findPlugins: options.findPlugins ?? pretendPlugins(...options.plugins ?? []),
    cores: 3,
  });
}

/** The config, or a failure that shows what was wrong. */
export async function configOf(
  text: string,
  options: Parameters<typeof loadText>[1] = {},
): Promise<Config> {
  const result = await loadText(text, options);
  if (result.errors !== undefined) {
    throw new Error(result.errors.map((one) => `${one.line}: ${one.message}`).join("\n"));
  }
  return result.config;
}

/** The errors, as `line:column message`. */
export async function errorsOf(
  text: string,
  options: Parameters<typeof loadText>[1] = {},
): Promise<string[]> {
  return (await rawErrors(text, options)).map((one) => `${one.line}:${one.column} ${one.message}`);
}

/** The errors. */
export async function rawErrors(
  text: string,
  options: Parameters<typeof loadText>[1] = {},
): Promise<readonly ConfigError[]> {
  return (await loadText(text, options)).errors ?? [];
}

/** The smallest config, and lines to put behind it. */
export function minimal(rest: string = ""): string {
  return `listeners: [{ name: web, address: "127.0.0.1:8080" }]
services: [{ name: edge, routes: [{ upstream: app }] }]
upstreams: [{ name: app, endpoints: ["127.0.0.1:3000"] }]
${rest}`;
}

/** A config with one upstream of one endpoint, of which this is said besides. */
export function oneUpstream(text: string): string {
  return `listeners: [{ address: ":8080" }]
services: [{ name: edge, routes: [{ upstream: app }] }]
upstreams:
  - { name: app, endpoints: ["10.0.0.1:1"], ${text} }
`;
}

/** The only error of a config must be one of these words. */
export async function refuses(text: string, words: RegExp, options = {}): Promise<void> {
  const errors = await errorsOf(text, options);
  if (errors.length === 1 && words.test(errors[0]!)) return;
  throw new Error(`${text}\nexpected ${words}, found:\n${errors.join("\n") || "no error"}`);
}
