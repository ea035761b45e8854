/**
 * Starts the program with one of the plugins in `plugins/`, in front of origins of the test.
 *
 * @module
 */
import { type Sluice, startSluice } from "./sluice.ts";

const PLUGINS = new URL("../../plugins", import.meta.url).pathname;

/** How to start. */
export interface FirstPartyOptions {
  /** Name of the plugin; all others of the folder are turned off. */
  readonly plugin: string;
  /** Its config. Default: none. */
  readonly with?: unknown;
  /** Upstream groups by name, each with one port. The first is that of the route. */
  readonly upstreams: Readonly<Record<string, number>>;
  /** More YAML for the listener. */
  readonly listener?: Readonly<Record<string, unknown>>;
}

/** Starts the program; the plugin runs in its sandbox. */
export async function startWithPlugin(options: FirstPartyOptions): Promise<Sluice> {
  const { plugin, upstreams } = options;
  const disabled: string[] = [];
  for await (const entry of Deno.readDir(PLUGINS)) {
    if (entry.isDirectory && entry.name !== plugin) disabled.push(entry.name);
  }
  // JSON is YAML.
  return await startSluice({
    config: JSON.stringify({
      listeners: [{ name: "web", address: "127.0.0.1:0", ...options.listener }],
      services: [{
        name: "edge",
        routes: [{
          plugins: [options.with === undefined ? plugin : { use: plugin, with: options.with }],
          upstream: Object.keys(upstreams)[0],
        }],
      }],
      upstreams: Object.entries(upstreams).map(([name, port]) => ({
        name,
        endpoints: [`127.0.0.1:${port}`],
      })),
      plugins: { directory: PLUGINS, disabled },
    }),
  });
}

/** An origin of a test. */
export interface TestOrigin extends AsyncDisposable {
  readonly port: number;
}

/** Starts an HTTP server on a free port. */
export function serveOrigin(
  handler: (request: Request) => Response | Promise<Response>,
): TestOrigin {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, handler);
  return { port: server.addr.port, [Symbol.asyncDispose]: () => server.shutdown() };
}
