/**
 * Listeners in words: what they speak below HTTP, and with which certificates.
 *
 * @module
 */
import { chooseTlsEngine, type EngineChoice } from "../config/tls_engine.ts";
import type { Config, ListenerConfig } from "../config/types.ts";
import type { ListenerTlsConfig } from "../config/types_listeners.ts";
import { formatDuration } from "../config/units.ts";
import { inspectPair } from "../transport/certificate.ts";
import { libcAvailable } from "../transport/libc.ts";
import { table } from "./output.ts";
import type { PluginReport } from "./program.ts";

const DAY = 86_400_000;

/** The TLS engine that a listener would get here and now, and why; `null` without TLS. */
export function engineOf(
  listener: ListenerConfig,
  config: Config,
  reports: readonly PluginReport[],
): EngineChoice | null {
  const service = config.services.find(({ listeners }) => listeners.includes(listener.name));
  const used = new Set(
    service?.routes.flatMap(({ plugins }) =>
      plugins.map((use) => config.plugins[use.plugin]!.name)
    ),
  );
  const has = (phase: string) =>
    reports.some(({ name, phases }) => used.has(name) && phases.includes(phase));
  return chooseTlsEngine(listener, {
    hooks: { connectionFilter: has("connectionFilter"), certificate: has("certificate") },
    surgery: libcAvailable(),
  });
}

/** TLS and PROXY protocol of all listeners that have them; empty if none does. */
export function describeListeners(config: Config, reports: readonly PluginReport[]): string {
  return config.listeners.map((listener) => {
    const rows: string[][] = [];
    const { tls, proxyProtocol, engine } = listener;
    if (engine === "handle" && !libcAvailable()) {
      rows.push([
        "warning",
        "without --allow-ffi each worker has an accept queue of its own: who waits in it when the worker ends is reset",
      ]);
    }
    if (engine === "epoll") rows.push(...epollRows(listener, config));
    const choice = engineOf(listener, config, reports);
    if (tls !== null && choice !== null) rows.push(...tlsRows(tls, choice));
    if (proxyProtocol !== null) {
      const { trusted, required, timeout } = proxyProtocol;
      rows.push([
        "PROXY header",
        `${required ? "required" : "taken"} from ${
          trusted.length === 0 ? "whoever is on the socket" : trusted.join(" ")
        }, within ${formatDuration(timeout)}`,
      ]);
    }
    return rows.length === 0 ? "" : `\nListener ${listener.name}\n${table(rows, "  ")}`;
  }).join("");
}

function epollRows({ name }: ListenerConfig, { services, plugins }: Config): string[][] {
  if (!libcAvailable()) {
    return [["warning", "engine epoll needs Linux and --allow-ffi: engine deno would serve here"]];
  }
  const service = services.find(({ listeners }) => listeners.includes(name));
  const inline = service?.routes.flatMap((route) => route.plugins)
    .map((use) => plugins[use.plugin]!)
    .filter(({ isolation }) => isolation === "inline") ?? [];
  if (inline.length === 0) return [];
  const names = [...new Set(inline.map((plugin) => plugin.name))].join(", ");
  return [[
    "warning",
    `engine epoll: inline plugins (${names}) get the right ffi with their worker`,
  ]];
}

function tlsRows(tls: ListenerTlsConfig, { engine, why }: EngineChoice): string[][] {
  const rows = [["TLS engine", `${engine}: ${why}`]];
  if (engine === "native" && !libcAvailable()) {
    rows.push([
      "warning",
      "without --allow-ffi, first answers are about 40 ms late, and clients that hang keep their connection",
    ]);
  }
  for (const { cert, key, names } of tls.certificates) {
    const found = inspectPair(cert.pem, key.pem);
    rows.push([
      "certificate",
      `${(names ?? found.names).join(", ") || "no names"}; ${expiryText(found)}`,
    ]);
  }
  rows.push([
    "versions",
    `${tls.minVersion.slice(4)} to ${tls.maxVersion.slice(4)}, ALPN ${
      tls.alpn.join(", ") || "none"
    }`,
  ]);
  if (tls.clientAuth !== null && tls.clientAuth.mode !== "none") {
    rows.push(["client certificate", tls.clientAuth.mode]);
  }
  for (const { host, mode } of tls.hostAuth) {
    rows.push(["client certificate", `${mode} for ${host}`]);
  }
  return rows;
}

/** When a certificate is good. */
function expiryText(
  { notBefore, notAfter }: { readonly notBefore: number; readonly notAfter: number },
): string {
  const now = Date.now();
  const day = (time: number) => new Date(time).toISOString().slice(0, 10);
  if (now > notAfter) return `EXPIRED on ${day(notAfter)}`;
  if (now < notBefore) return `NOT VALID before ${day(notBefore)}`;
  const days = Math.floor((notAfter - now) / DAY);
  return `expires on ${day(notAfter)}, in ${days === 1 ? "1 day" : `${days} days`}`;
}

/** A listener as plain data, for `check --json`. */
export function summarizeListener(
  listener: ListenerConfig,
  config: Config,
  reports: readonly PluginReport[],
): unknown {
  const { name, address, tls } = listener;
  if (tls === null) return { name, address, tls: null };
  return {
    name,
    address,
    tls: {
      ...engineOf(listener, config, reports),
      certificates: tls.certificates.map(({ cert, key, names }) => {
        const found = inspectPair(cert.pem, key.pem);
        return {
          names: names ?? found.names,
          fingerprint: found.fingerprint,
          not_before: new Date(found.notBefore).toISOString(),
          not_after: new Date(found.notAfter).toISOString(),
        };
      }),
    },
  };
}
