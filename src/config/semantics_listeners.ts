/**
 * What must hold within a listener's TLS and PROXY protocol.
 *
 * @module
 */
import { parseAddress } from "../transport/address.ts";
import type { Path } from "./document.ts";
import type { Findings } from "./findings.ts";
import { rawList, rawMap, rawText } from "./raw.ts";
import { engineObstacle } from "./socket_engine.ts";

type Raw = Readonly<Record<string, unknown>>;

/** Checks one listener. */
export function checkListener(findings: Findings, path: Path, listener: Raw): void {
  const written = rawText(listener["address"]);
  const address = written === null ? null : parseAddress(written);
  const isUnix = typeof address === "object" && address?.kind === "unix";
  if (listener["unix_owner"] !== undefined && address !== null && !isUnix) {
    findings.atKey(
      [...path, "unix_owner"],
      "unix_owner means nothing on a TCP address",
      "remove it",
    );
  }
  const { proxy_protocol: proxy } = listener as { proxy_protocol?: unknown };
  if (proxy !== undefined && !isUnix && rawList(rawMap(proxy)["trusted"]).length === 0) {
    findings.atKey(
      [...path, "proxy_protocol"],
      "proxy_protocol believes nobody: trusted is empty",
      "name the networks of the proxies in front: trusted: [10.0.0.0/8]",
    );
  }
  const engine = String(listener["engine"]);
  if (
    (engine === "handle" || engine === "epoll") && typeof address === "object" && address !== null
  ) {
    const obstacle = engineObstacle({ address, tls: listener["tls"], proxy_protocol: proxy });
    if (obstacle !== null) {
      findings.at(
        [...path, "engine"],
        `engine: ${engine} cannot serve this listener because of ${obstacle}`,
        engine === "handle" ? "write engine: auto or leave it out" : "leave it out",
      );
    }
  }
  if (listener["tls"] === undefined) return;
  const tls = rawMap(listener["tls"]);
  const tlsPath: Path = [...path, "tls"];
  checkVersions(findings, tlsPath, tls);
  checkClientAuth(findings, tlsPath, tls);
  checkNames(findings, tlsPath, tls);
  checkNative(findings, tlsPath, tls, proxy !== undefined, isUnix);
}

function checkVersions(findings: Findings, path: Path, tls: Raw): void {
  if (String(tls["min_version"]) !== "1.3" || String(tls["max_version"]) !== "1.2") return;
  findings.at(
    [...path, "min_version"],
    "min_version is newer than max_version, so no version is left",
    "remove max_version",
  );
}

function checkClientAuth(findings: Findings, path: Path, tls: Raw): void {
  const auth = rawMap(tls["client_auth"]);
  const at: Path = [...path, "client_auth"];
  const asked = asks(tls);
  const remedy = "name the PEM file of the roots that sign client certificates: ca: clients.pem";
  if (isAsking(auth) && auth["ca"] === undefined) {
    findings.atKey(at, `"ca" is missing in client_auth`, remedy);
  }
  rawList(auth["hosts"]).forEach((entry, i) => {
    const host = rawMap(entry);
    if (!isAsking(host) || host["ca"] !== undefined || auth["ca"] !== undefined) return;
    findings.atKey([...at, "hosts", i], `"ca" is missing in client_auth.hosts[${i}]`, remedy);
  });
  const forward = rawText(tls["forward_client_cert"]);
  if (forward !== null && forward !== "off" && !asked) {
    findings.atKey(
      [...path, "forward_client_cert"],
      "there is no client certificate to forward: clients are not asked for any",
      "add client_auth with mode optional or required, or remove it",
    );
  }
}

function isAsking(rule: Raw): boolean {
  return rule["mode"] === "optional" || rule["mode"] === "required";
}

function asks(tls: Raw): boolean {
  const auth = rawMap(tls["client_auth"]);
  return isAsking(auth) || rawList(auth["hosts"]).some((host) => isAsking(rawMap(host)));
}

/** A name for which two certificates are named would get only one of them. */
function checkNames(findings: Findings, path: Path, tls: Raw): void {
  const taken = new Map<string, number>();
  rawList(tls["certificates"]).forEach((entry, c) => {
    rawList(rawMap(entry)["names"]).forEach((value, n) => {
      const name = rawText(value)?.toLowerCase() ?? null;
      if (name === null) return;
      const first = taken.get(name);
      if (first === undefined) return taken.set(name, c);
      const at: Path = [...path, "certificates", c, "names", n];
      findings.at(
        at,
        `${findings.quote(at, name)} is a name of certificates[${first}] already`,
        "remove one of the two",
      );
    });
  });
}

/** Engine native, asked for by name, must be able to do the rest. */
function checkNative(
  findings: Findings,
  path: Path,
  tls: Raw,
  hasProxyProtocol: boolean,
  isUnix: boolean,
): void {
  if (tls["engine"] !== "native") return;
  const why = rawList(tls["certificates"]).length > 1
    ? "several certificates"
    : asks(tls)
    ? "client certificates"
    : String(tls["min_version"] ?? "1.2") !== "1.2" || String(tls["max_version"] ?? "1.3") !== "1.3"
    ? "a choice of versions"
    : tls["unknown_name"] === "reject"
    ? "unknown_name: reject"
    : hasProxyProtocol
    ? "the PROXY protocol"
    : isUnix
    ? "unix sockets"
    : null;
  if (why === null) return;
  findings.at(
    [...path, "engine"],
    `engine native cannot do ${why}`,
    "write engine: node, or leave engine out",
  );
}
