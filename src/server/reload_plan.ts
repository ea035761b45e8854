/**
 * What a reload would do, item by item.
 *
 * @module
 */
import { same } from "../base/same.ts";
import type { Config, ListenerConfig, ServiceConfig } from "../config/types.ts";
import { formatAddress } from "../transport/address.ts";
import { libcAvailable } from "../transport/libc.ts";
import { covers, workerPermissions } from "./worker_permissions.ts";

/** What becomes of something. */
export type PlannedAction =
  /** It is there from then on. */
  | "add"
  /** It takes nothing new and finishes what it has. */
  | "remove"
  /** It goes on, by other settings. */
  | "swap"
  /** Another one takes its place; the one before finishes what it has. */
  | "rebuild"
  /** Workers with other rights take the place of those that serve, which finish what they have. */
  | "restart"
  /** A reload does not change it: an upgrade or a restart of the program does. */
  | "upgrade";

/** One thing that would change. */
export interface PlannedChange {
  readonly kind: "server" | "listener" | "service" | "route" | "upstream" | "plugin" | "telemetry";
  readonly name: string;
  readonly action: PlannedAction;
  readonly why: string;
}

type Named = Readonly<Record<"name", string>>;

/**
 * Compares two configs.
 *
 * @param touched Names of plugins whose files have changed.
 */
export function planReload(
  before: Config,
  after: Config,
  touched: ReadonlySet<string> = new Set(),
): PlannedChange[] {
  return [
    ...serverChanges(before, after),
    ...changesOf("listener", before.listeners, after.listeners, listenerChange),
    ...before.services.flatMap((service) => workerChange(service, before, after, touched)),
    ...changesOf("service", before.services, after.services, serviceChange),
    ...before.services.flatMap((service) => routeChanges(service, after)),
    ...changesOf("upstream", before.upstreams, after.upstreams, (a, b) => {
      const [x, y] = [{ ...a, endpoints: [] }, { ...b, endpoints: [] }];
      return same(x, y)
        ? {
          action: "swap",
          why: "other endpoints; counts, health and connections of the rest stay",
        }
        : { action: "rebuild", why: `${keysOf(x, y)}; health begins anew, loads stay` };
    }),
    ...changesOf("plugin", before.plugins, after.plugins, (a, b) => {
      const [x, y] = [plainPlugin(a), plainPlugin(b)];
      if (!same(x, y)) return { action: "rebuild", why: keysOf(x, y) };
      return touched.has(a.name) ? { action: "rebuild", why: "its files have changed" } : null;
    }),
    ...telemetryChanges(before, after),
  ];
}

type Verdict = Pick<PlannedChange, "action" | "why"> | null;

function changesOf<T extends Named>(
  kind: PlannedChange["kind"],
  before: readonly T[],
  after: readonly T[],
  compare: (a: T, b: T) => Verdict,
): PlannedChange[] {
  const changes: PlannedChange[] = [];
  for (const old of before) {
    const next = after.find(({ name }) => name === old.name);
    if (next === undefined) {
      changes.push({ kind, name: old.name, action: "remove", why: "it is not there any more" });
      continue;
    }
    const verdict = same(old, next) && kind !== "plugin" ? null : compare(old, next);
    if (verdict !== null) changes.push({ kind, name: old.name, ...verdict });
  }
  for (const { name } of after) {
    if (before.some((one) => one.name === name)) continue;
    changes.push({ kind, name, action: "add", why: "it was not there before" });
  }
  return changes;
}

function serverChanges({ server: a }: Config, { server: b }: Config): PlannedChange[] {
  const keys = (Object.keys(b) as (keyof typeof b)[]).filter((key) => !same(a[key], b[key]));
  return keys.map((key) => {
    const late = SETTLED[key];
    return {
      kind: "server",
      name: key === "identity" ? "user" : snake(key),
      action: late === undefined ? "swap" : "upgrade",
      why: late ?? "from then on",
    };
  });
}

/** Keys that are settled when the program has started, and why. */
const SETTLED: { readonly [Key in keyof Config["server"]]?: string } = {
  pidFile: "it is written when the program has started",
  identity: "only root can become another user: restart the program",
  daemon: "it is in the background, or is not, from its start: restart the program",
};

function listenerChange(a: ListenerConfig, b: ListenerConfig): Verdict {
  if (!same(a.address, b.address)) {
    return {
      action: "rebuild",
      why: `${formatAddress(a.address)} becomes ${formatAddress(b.address)}`,
    };
  }
  const keys = keysOf(a, b);
  if (keys === "backlog") return { action: "upgrade", why: "the backlog is that of the socket" };
  return { action: "swap", why: `${keys}, for what is accepted from then on` };
}

function serviceChange(a: ServiceConfig, b: ServiceConfig): Verdict {
  const [x, y] = [{ ...a, routes: [] }, { ...b, routes: [] }];
  if (same(x, y)) return null;
  return {
    action: "swap",
    why: a.threads === b.threads ? keysOf(x, y) : `${b.threads} workers instead of ${a.threads}`,
  };
}

function routeChanges(service: ServiceConfig, after: Config): PlannedChange[] {
  const next = after.services.find(({ name }) => name === service.name);
  if (next === undefined) return [];
  const named = (routes: ServiceConfig["routes"]) =>
    routes.map((route) => ({
      ...route,
      name: route.id,
      // Positions say nothing; which plugins they are is compared by name.
      plugins: route.plugins.map(({ when }) => when),
    }));
  return changesOf(
    "route",
    named(service.routes),
    named(next.routes),
    (a, b) => ({ action: "swap", why: `${keysOf(a, b)}, for requests that begin then` }),
  );
}

function workerChange(
  service: ServiceConfig,
  before: Config,
  after: Config,
  touched: ReadonlySet<string>,
): PlannedChange[] {
  const next = after.services.find(({ name }) => name === service.name);
  if (next === undefined) return [];
  const restart = (why: string): PlannedChange[] => [
    { kind: "service", name: service.name, action: "restart", why: `its workers: ${why}` },
  ];
  const reach = { net: [], read: [] };
  const nothing = { sockets: [], reach, binds: {}, libc: libcAvailable(), inline: [] };
  const rights = (config: Config, of: ServiceConfig) => workerPermissions(config, of, nothing);
  if (!covers(rights(before, service), rights(after, next))) {
    return restart("they need rights that they do not have, such as to reach other addresses");
  }
  const inline = ({ plugins }: Config) =>
    plugins.filter(({ isolation }) => isolation === "inline").map(plainPlugin);
  if (
    !same(inline(before), inline(after)) || inline(after).some(({ name }) => touched.has(name))
  ) return restart("plugins inside of them are others");
  if ((before.metrics === null) !== (after.metrics === null)) {
    return restart("whether they count is settled when they begin");
  }
  return [];
}

function telemetryChanges(before: Config, after: Config): PlannedChange[] {
  const keys = ["accessLog", "log", "metrics", "admin"] as const;
  return keys.filter((key) => !same(before[key], after[key])).map((key) => ({
    kind: "telemetry",
    name: snake(key),
    action: key === "metrics" || key === "admin" ? "rebuild" : "swap",
    why: "from then on",
  }));
}

function plainPlugin(plugin: Config["plugins"][number]) {
  return { ...plugin, uses: plugin.uses.map(({ config }) => config) };
}

/** Keys by which two pieces of data differ, as the config spells them. */
function keysOf(a: object, b: object): string {
  const [x, y] = [a, b] as Record<string, unknown>[];
  return Object.keys(y!).filter((key) => !same(x![key], y![key])).map(snake).join(", ");
}

function snake(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
