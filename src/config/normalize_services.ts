/**
 * From `services` to {@linkcode ServiceConfig}, and which plugins run on which route.
 *
 * @module
 */
import type { Match } from "../plugin/plugin.ts";
import type { ConfigDocument, Path } from "./document.ts";
import type { FoundPlugin } from "./found_plugins.ts";
import { normalizeAttempts } from "./normalize_attempts.ts";
import type { FileData, MatchData, RouteData, UseData } from "./schema.ts";
import type {
  PluginUse,
  PluginUseConfig,
  RouteConfig,
  RuleConfig,
  ServiceConfig,
} from "./types.ts";

/** Collects the distinct configs that each plugin runs with. */
export class PluginUses {
  readonly #plugins: readonly FoundPlugin[];
  readonly #disabled: ReadonlySet<string>;
  readonly #document: ConfigDocument | null;
  readonly #uses: PluginUseConfig[][];
  readonly #keys: Map<string, number>[];
  readonly #named = new Set<number>();

  /** @param plugins In the order of `Config.plugins`. */
  constructor(
    plugins: readonly FoundPlugin[],
    disabled: readonly string[],
    document: ConfigDocument | null,
  ) {
    this.#plugins = plugins;
    this.#disabled = new Set(disabled);
    this.#document = document;
    this.#uses = plugins.map(() => []);
    this.#keys = plugins.map(() => new Map<string, number>());
  }

  /** The configs of a plugin. */
  of(plugin: number): readonly PluginUseConfig[] {
    return this.#uses[plugin]!;
  }

  /** Notes a use that the file names. */
  named(use: UseData, path: Path): PluginUse {
    const name = typeof use === "string" ? use : use.use;
    const plugin = this.#plugins.findIndex((one) => one.name === name);
    if (plugin < 0) throw new Error(`Broken invariant: plugin ${name} was not checked`);
    this.#named.add(plugin);
    const config = typeof use === "string" ? undefined : use.with;
    const when = typeof use === "string" || use.when === undefined ? null : toMatch(use.when);
    const place = config === undefined ? path : [...path, "with"];
    return {
      plugin,
      use: this.#use(plugin, config, () => this.#document?.mark(place) ?? null),
      when,
    };
  }

  /** The plugins that run everywhere, because nothing in the file names them. */
  everywhere(): PluginUse[] {
    const uses: PluginUse[] = [];
    this.#plugins.forEach((one, plugin) => {
      if (this.#named.has(plugin) || this.#disabled.has(one.name)) return;
      uses.push({ plugin, use: this.#use(plugin, undefined, () => null), when: null });
    });
    return uses;
  }

  #use(plugin: number, config: unknown, mark: () => PluginUseConfig["source"]): number {
    const key = config === undefined ? "" : canonical(config);
    const known = this.#keys[plugin]!.get(key);
    if (known !== undefined) return known;
    const position = this.#uses[plugin]!.push({ config, source: mark() }) - 1;
    this.#keys[plugin]!.set(key, position);
    return position;
  }
}

/** Text that is the same for the same value, whatever the order of keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => a < b ? -1 : 1));
  });
}

/** What {@linkcode normalizeServices} needs besides the data. */
export interface ServicesContext {
  readonly listeners: readonly string[];
  readonly threads: (wanted: number | "auto" | undefined) => number;
}

/** Makes all services. */
export function normalizeServices(
  data: FileData,
  uses: PluginUses,
  context: ServicesContext,
): ServiceConfig[] {
  // All names first: what nobody names runs everywhere, also on routes further up.
  const named = data.services.map((service, s) => ({
    service: service.plugins.map((use, i) => uses.named(use, ["services", s, "plugins", i])),
    routes: service.routes.map((route, r) =>
      route.plugins.map((use, i) => uses.named(use, ["services", s, "routes", r, "plugins", i]))
    ),
  }));
  const everywhere = uses.everywhere();
  return data.services.map((service, s): ServiceConfig => ({
    name: service.name,
    threads: context.threads(service.threads),
    listeners: service.listeners ?? context.listeners,
    routes: service.routes.map((route, r): RouteConfig => ({
      id: route.id ?? `${service.name}/${r}`,
      match: toMatch(route.match),
      plugins: [...everywhere, ...named[s]!.service, ...named[s]!.routes[r]!],
      rules: route.rules.map(toRule),
      modules: route.grpc_web ? ["grpc_web"] : [],
      bodyBytes: route.limits.body_bytes ?? null,
      ...normalizeAttempts(route),
    })),
  }));
}

/** Leaves out what was not said. */
function toMatch(data: MatchData): Match {
  return {
    ...(data.path === undefined ? {} : { path: data.path }),
    ...(data.method === undefined ? {} : { method: data.method }),
    ...(data.host === undefined ? {} : { host: data.host }),
    ...(data.header === undefined || Object.keys(data.header).length === 0
      ? {}
      : { header: data.header }),
  };
}

function toRule(data: RouteData["rules"][number]): RuleConfig {
  return {
    match: toMatch(data.match),
    request: toChanges(data.request),
    response: toChanges(data.response),
    respond: data.respond === undefined ? null : {
      status: data.respond.status,
      headers: data.respond.headers,
      body: data.respond.body,
    },
  };
}

function toChanges(
  data: RouteData["rules"][number]["request"],
): Readonly<Record<string, string | null>> {
  return {
    ...data.set,
    ...Object.fromEntries(data.remove.map((name) => [name, null])),
  };
}
