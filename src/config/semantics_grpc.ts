/**
 * Whether routes that carry gRPC lead to upstreams that can speak it.
 *
 * @module
 */
import type { Path } from "./document.ts";
import type { Findings } from "./findings.ts";
import { pathText } from "./later.ts";
import { rawList, rawMap, rawText } from "./raw.ts";

/**
 * Warns of routes that say gRPC where an upstream of theirs speaks HTTP/1.1, in which servers of gRPC do not answer. It
 * is no error: a plugin may name peers that speak something else.
 */
export function checkGrpc(
  findings: Findings,
  services: readonly unknown[],
  upstreams: readonly unknown[],
): void {
  const old = new Map<string, number>();
  upstreams.forEach((entry, i) => {
    const upstream = rawMap(entry);
    const name = rawText(upstream["name"]);
    if (name !== null && speaksHttp1Only(rawMap(upstream["transport"]))) old.set(name, i);
  });
  if (old.size === 0) return;
  services.forEach((service, s) => {
    rawList(rawMap(service)["routes"]).forEach((entry, r) => {
      const route = rawMap(entry);
      const path = ["services", s, "routes", r];
      const said = saysGrpc(route);
      if (said === null) return;
      for (const name of targets(route)) {
        const i = old.get(name);
        if (i === undefined) continue;
        const at = [...path, ...said];
        findings.warn(
          at,
          `${
            pathText(path)
          } carries gRPC, and upstreams[${i}], where it leads, speaks only HTTP/1.1`,
          `set transport.protocol of upstreams[${i}] to h2c, or to h2 or auto with transport.tls`,
        );
      }
    });
  });
}

function speaksHttp1Only(transport: Readonly<Record<string, unknown>>): boolean {
  const protocol = rawText(transport["protocol"]) ?? "h1";
  return protocol === "h1" || (protocol === "auto" && transport["tls"] === undefined);
}

/** The key by which a route says that it is for gRPC; `null`: it does not say so. */
function saysGrpc(route: Readonly<Record<string, unknown>>): Path | null {
  if (route["grpc_web"] === true) return ["grpc_web"];
  if (rawMap(route["timeouts"])["grpc"] !== undefined) return ["timeouts", "grpc"];
  const cause = rawList(rawMap(route["retry"])["on"]).findIndex((one) =>
    rawText(one)?.startsWith("grpc:") === true
  );
  if (cause >= 0) return ["retry", "on", cause];
  const fields = rawMap(rawMap(route["match"])["header"]);
  const type = Object.keys(fields).find((name) => name.toLowerCase() === "content-type");
  if (type === undefined) return null;
  return /^application\/grpc(?:\+|\*|;|$)/i.test(rawText(fields[type]) ?? "")
    ? ["match", "header", type]
    : null;
}

function targets(route: Readonly<Record<string, unknown>>): Set<string> {
  const names = [
    route["upstream"],
    ...rawList(route["split"]).map((part) => rawMap(part)["upstream"]),
  ];
  return new Set(names.flatMap((name) => rawText(name) ?? []));
}
