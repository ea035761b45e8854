/**
 * What a schema cannot say: names that must be unique, references that must lead somewhere.
 *
 * @module
 */
import { formatAddress, parseAddress } from "../transport/address.ts";
import type { ConfigDocument, Path } from "./document.ts";
import { Findings } from "./findings.ts";
import type { FoundPlugin } from "./found_plugins.ts";
import { pathText } from "./later.ts";
import { rawList, rawMap, rawText } from "./raw.ts";
import { sameSocket } from "./same_socket.ts";
import { checkOperations } from "./semantics_operations.ts";
import { checkListener } from "./semantics_listeners.ts";
import { checkGrpc } from "./semantics_grpc.ts";
import { checkRoutes } from "./semantics_routes.ts";
import { checkServer } from "./semantics_server.ts";
import { checkUpstream } from "./semantics_upstreams.ts";
import { didYouMean } from "./suggest.ts";

/** Checks names and references; the shape may still be wrong. Warnings count only if there are no errors. */
export function checkSemantics(
  document: ConfigDocument,
  plugins: readonly FoundPlugin[],
  pluginsKnown: boolean,
): Findings {
  const root = rawMap(document.data);
  const findings = new Findings(document);
  const names = pluginsKnown ? plugins.map((one) => one.name) : null;
  const listeners = checkListeners(findings, rawList(root["listeners"]));
  rawList(root["listeners"]).forEach((listener, i) =>
    checkListener(findings, ["listeners", i], rawMap(listener))
  );
  const upstreams = checkNames(findings, "upstream", ["upstreams"], rawList(root["upstreams"]));
  rawList(root["upstreams"]).forEach((upstream, i) =>
    checkUpstream(findings, ["upstreams", i], rawMap(upstream), names)
  );
  const services = rawList(root["services"]);
  checkNames(findings, "service", ["services"], services);
  checkServiceListeners(findings, services, listeners);
  checkRoutes(
    findings,
    services,
    new Set(upstreams.keys()),
    names,
  );
  checkPluginSettings(
    findings,
    rawMap(root["plugins"]),
    names,
  );
  checkDisabled(findings, root);
  checkOperations(findings, root);
  checkServer(findings, root);
  checkGrpc(findings, services, rawList(root["upstreams"]));
  return findings;
}

function checkNames(
  findings: Findings,
  kind: string,
  path: Path,
  entries: readonly unknown[],
): Map<string, number> {
  const places = new Map<string, number>();
  entries.forEach((entry, i) => {
    const name = rawText(rawMap(entry)["name"]);
    if (name === null) return;
    const first = places.get(name);
    if (first === undefined) {
      places.set(name, i);
      return;
    }
    const here = [...path, i, "name"];
    findings.at(
      here,
      `${kind} ${findings.quote(here, name)} is named a second time, first at ${
        pathText([...path, first])
      }`,
      "give it another name",
    );
  });
  return places;
}

function checkListeners(findings: Findings, listeners: readonly unknown[]): Map<string, number> {
  const names = checkNames(findings, "listener", ["listeners"], listeners);
  const byAddress = new Map<string, number>();
  listeners.forEach((entry, i) => checkProtocols(findings, ["listeners", i], rawMap(entry)));
  listeners.forEach((entry, i) => {
    const written = rawText(rawMap(entry)["address"]);
    if (written === null) return;
    const address = parseAddress(written);
    if (rawText(rawMap(entry)["name"]) === null) {
      names.set(typeof address === "string" ? written : formatAddress(address), i);
    }
    if (typeof address === "string" || (address.kind === "tcp" && address.port === 0)) return;
    const path = ["listeners", i, "address"];
    for (const [other, first] of byAddress) {
      if (!sameSocket(other, address)) continue;
      findings.at(
        path,
        `${findings.quote(path, written)} is taken by listeners[${first}] already`,
        "give one of the two another port",
      );
      return;
    }
    byAddress.set(formatAddress(address), i);
  });
  return names;
}

/** Whether a client could speak anything: HTTP/2 by ALPN needs TLS, and HTTP/2 without TLS must have none. */
function checkProtocols(
  findings: Findings,
  path: Path,
  listener: Readonly<Record<string, unknown>>,
): void {
  const protocols = rawList(listener["protocols"]);
  const encrypted = listener["tls"] !== undefined;
  if (protocols.length === 0 || protocols.includes("h1")) return;
  if (protocols.includes(encrypted ? "h2" : "h2c")) return;
  findings.at(
    [...path, "protocols"],
    encrypted ? "h2c is HTTP/2 without TLS" : "h2 needs tls, which agrees on it by ALPN",
    encrypted ? "write h2" : "write h2c, or add h1",
  );
}

function checkServiceListeners(
  findings: Findings,
  services: readonly unknown[],
  listeners: ReadonlyMap<string, number>,
): void {
  const users = new Map<string, number>();
  let allFound = true;
  services.forEach((entry, s) => {
    const service = rawMap(entry);
    if (service["listeners"] === undefined && services.length > 1) {
      findings.atKey(
        ["services", s],
        `"listeners" is missing in services[${s}]`,
        "with more than one service, each must name its listeners",
      );
    }
    rawList(service["listeners"]).forEach((value, l) => {
      const name = rawText(value);
      if (name === null) return;
      const path = ["services", s, "listeners", l];
      if (!listeners.has(name)) {
        findings.unknown("listener", path, name, listeners.keys(), "add it under listeners");
        allFound = false;
        return;
      }
      const user = users.get(name);
      if (user !== undefined) {
        findings.at(
          path,
          `listener ${findings.quote(path, name)} is used by services[${user}] already`,
          "a listener belongs to one service: add routes there, or another listener",
        );
      } else users.set(name, s);
    });
  });
  const allNamed = services.length > 0 &&
    services.every((entry) => rawList(rawMap(entry)["listeners"]).length > 0);
  // A name that leads nowhere was probably meant for one of those that seem unused.
  if (!allNamed || !allFound) return;
  for (const [name, i] of listeners) {
    if (users.has(name)) continue;
    findings.atKey(
      ["listeners", i],
      `listeners[${i}] belongs to no service`,
      "name it in the listeners of a service, or remove it",
    );
  }
}

/** A plugin that does not run cannot name the endpoints of an upstream, nor act on a route that names it. */
function checkDisabled(findings: Findings, root: Readonly<Record<string, unknown>>): void {
  const finders = new Map<string, number>();
  rawList(root["upstreams"]).forEach((upstream, i) => {
    const discovery = rawMap(rawMap(upstream)["discovery"]);
    const plugin = rawText(discovery["plugin"]);
    if (discovery["type"] === "plugin" && plugin !== null) finders.set(plugin, i);
  });
  const users = pluginUsers(rawList(root["services"]));
  rawList(rawMap(root["plugins"])["disabled"]).forEach((value, i) => {
    const name = rawText(value);
    if (name === null) return;
    const path = ["plugins", "disabled", i];
    const upstream = finders.get(name);
    if (upstream !== undefined) {
      findings.at(
        path,
        `plugin ${
          findings.quote(path, name)
        } is the discovery of upstreams[${upstream}], which then has no endpoints`,
        "remove it from this list, or give the upstream another discovery",
      );
      return;
    }
    const user = users.get(name);
    if (user === undefined) return;
    findings.at(
      path,
      `plugin ${findings.quote(path, name)} is to run by ${pathText(user)}`,
      "remove it from this list, or from there: what is named runs nowhere else anyway",
    );
  });
}

/** Which plugins services and routes name, and where first. */
function pluginUsers(services: readonly unknown[]): Map<string, Path> {
  const users = new Map<string, Path>();
  const note = (path: Path, value: unknown): void =>
    rawList(value).forEach((entry, i) => {
      const name = rawText(entry) ?? rawText(rawMap(entry)["use"]);
      if (name !== null && !users.has(name)) users.set(name, [...path, i]);
    });
  services.forEach((entry, s) => {
    const service = rawMap(entry);
    note(["services", s, "plugins"], service["plugins"]);
    rawList(service["routes"]).forEach((route, r) =>
      note(["services", s, "routes", r, "plugins"], rawMap(route)["plugins"])
    );
  });
  return users;
}

function checkPluginSettings(
  findings: Findings,
  plugins: Readonly<Record<string, unknown>>,
  known: readonly string[] | null,
): void {
  const trusted = new Set(rawList(plugins["trust"]));
  const check = (path: Path, name: string, isKey: boolean): void => {
    if (known === null || known.includes(name)) return;
    const hint = didYouMean(name, known);
    const message = `unknown plugin ${JSON.stringify(name)}${hint}`;
    const remedy = hint === ""
      ? known.length === 0 ? "the folder holds no plugins" : `the folder holds: ${known.join(", ")}`
      : "";
    if (isKey) findings.atKey(path, message, remedy);
    else findings.at(path, message, remedy);
  };
  for (const key of ["grant", "isolation", "on_error", "timeout", "load_timeout", "heap"]) {
    for (const name of Object.keys(rawMap(plugins[key]))) {
      check(["plugins", key, name], name, true);
    }
  }
  for (const key of ["trust", "disabled"]) {
    rawList(plugins[key]).forEach((value, i) => {
      const name = rawText(value);
      if (name !== null) check(["plugins", key, i], name, false);
    });
  }
  const needsTrust =
    "inline runs the plugin inside the service worker: name it under plugins.trust";
  if (plugins["isolation"] === "inline") {
    for (const name of known ?? []) {
      if (trusted.has(name)) continue;
      findings.at(
        ["plugins", "isolation"],
        `plugin ${JSON.stringify(name)} may not run inline: it is not trusted`,
        needsTrust,
      );
    }
  }
  for (const [name, level] of Object.entries(rawMap(plugins["isolation"]))) {
    if (level !== "inline" || trusted.has(name)) continue;
    findings.at(
      ["plugins", "isolation", name],
      `plugin ${JSON.stringify(name)} may not run inline: it is not trusted`,
      needsTrust,
    );
  }
  if (plugins["directory"] !== undefined) return;
  const settings = Object.keys(plugins).filter((key) => !key.startsWith("x-"));
  if (settings.length > 0) {
    findings.atKey(
      ["plugins"],
      '"directory" is missing in plugins',
      "name the folder that the plugins are in: directory: ./plugins",
    );
  }
}
