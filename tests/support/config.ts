/**
 * Config files for tests: one listener, one route, one upstream, and what a test wants different.
 *
 * @module
 */

type Values = Readonly<Record<string, unknown>>;

/** What differs from the plainest proxy. */
export interface ConfigParts {
  /** Endpoints of the upstream `origin`. */
  readonly origin?: string | readonly string[];
  /** Keys of the listener `web`, over an address on 127.0.0.1. */
  readonly listener?: Values;
  /** Limits of that listener. */
  readonly limits?: Values;
  /** Keys of the route `all`. */
  readonly route?: Values;
  /** `transport` of the upstream. */
  readonly transport?: Values;
  /** Its `transport.timeouts`. */
  readonly timeouts?: Values;
  readonly server?: Values;
  readonly plugins?: Values;
  /** Further upstreams. */
  readonly upstreams?: readonly Values[];
  /** Further keys of the top level. */
  readonly top?: Values;
}

/** Writes a config file. It is JSON, which is YAML. */
export function configFile(parts: ConfigParts): string {
  const { origin, listener, limits, route, transport, timeouts, server, plugins, top } = parts;
  const endpoints = origin === undefined ? [] : typeof origin === "string" ? [origin] : origin;
  const upstreams = endpoints.length === 0 ? [] : [{
    name: "origin",
    endpoints,
    transport: { ...transport, ...(timeouts === undefined ? {} : { timeouts }) },
  }];
  return JSON.stringify(
    {
      version: 1,
      ...(server === undefined ? {} : { server }),
      listeners: [{
        name: "web",
        address: "127.0.0.1:0",
        ...(limits === undefined ? {} : { limits }),
        ...listener,
      }],
      services: [{
        name: "main",
        routes: [{
          id: "all",
          ...(endpoints.length === 0 ? {} : { upstream: "origin" }),
          ...route,
        }],
      }],
      upstreams: [...upstreams, ...(parts.upstreams ?? [])],
      // A busy machine may need longer than is usual until a sandbox runs.
      ...(plugins === undefined
        ? {}
        : { plugins: { directory: "./plugins", load_timeout: "60s", ...plugins } }),
      ...top,
    },
    null,
    2,
  );
}
