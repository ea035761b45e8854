import { runCli } from "../../src/cli/cli.ts";
import type { PluginReport, Program } from "../../src/cli/program.ts";
import type { Config } from "../../src/config/types.ts";

/** A program that runs nothing and notes what it was asked. */
export function pretendProgram(changes: Partial<Program> = {}): Program & { ran: Config[] } {
  const ran: Config[] = [];
  return {
    ran,
    runServer: (config, options) => {
      ran.push(config);
      options.onReady({
        listeners: [{ name: "web", address: "127.0.0.1:4711" }],
        plugins: reportsOf(config),
        operations: { admin: null, metrics: null },
      });
      return Promise.resolve(false);
    },
    startDaemon: () => Promise.resolve(4711),
    inspectPlugins: (config) =>
      Promise.resolve({
        reports: reportsOf(config),
        errors: [],
      }),
    planReload: () => Promise.resolve([]),
    findPlugins: (directory) => [{
      name: "geo",
      file: `${directory}/geo.ts`,
      root: `${directory}/geo.ts`,
    }],
    ...changes,
  };
}

function reportsOf(config: Config): PluginReport[] {
  return config.plugins.map((plugin) => ({
    name: plugin.name,
    version: "1.0.0",
    file: plugin.file,
    isolation: plugin.isolation,
    phases: ["requestFilter"],
    asked: { net: ["h:1", "h:2"] },
    granted: { net: ["h:1"] },
    configSchema: { type: "object" },
  }));
}

/** What a command line printed and how it ended. */
export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line in this process. */
export async function cli(args: string[], program: Program = pretendProgram()): Promise<Outcome> {
  let out = "";
  let err = "";
  const code = await runCli(args, {
    program,
    output: { out: (text) => out += text, err: (text) => err += text },
  });
  return { code, out, err };
}

/** A folder with a config, removed when done. */
export async function withConfig(
  text: string,
  test: (file: string, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/sluice.yaml`;
    await Deno.writeTextFile(file, text);
    await test(file, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

export const CONFIG = `listeners: [{ name: web, address: "127.0.0.1:8080" }]
services:
  - name: edge
    routes:
      - id: api
        match: { path: /v1/*, method: GET }
        upstream: app
        rules:
          - { match: { path: /v1/old }, respond: { status: 410 } }
      - id: beta
        match: { host: beta.example, header: { x-beta: "1" } }
        upstream: app
upstreams: [{ name: app, endpoints: ["https://app.example"] }]
plugins: { directory: plugins }
`;
