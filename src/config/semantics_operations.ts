/**
 * What must hold for what operators use: the admin interface and the address of the metrics.
 *
 * @module
 */
import ipaddr from "ipaddr.js";
import { formatAddress, parseAddress } from "../transport/address.ts";
import type { Path } from "./document.ts";
import type { Findings } from "./findings.ts";
import { rawList, rawMap, rawText } from "./raw.ts";
import { sameSocket } from "./same_socket.ts";

/** Shorter tokens can be guessed. */
const SHORTEST_TOKEN = 16;

/** Checks `admin` and `telemetry.metrics`. */
export function checkOperations(
  findings: Findings,
  root: Readonly<Record<string, unknown>>,
): void {
  const admin = rawMap(root["admin"]);
  checkAdmin(findings, admin);
  const metrics = rawMap(rawMap(root["telemetry"])["metrics"]);
  const path = rawText(metrics["path"]);
  const at: Path = ["telemetry", "metrics", "path"];
  if (path !== null && !/^\/[!-~]*$/.test(path)) {
    findings.at(at, `${findings.quote(at, path)} is no path`, "write one such as /metrics");
  } else if (path !== null && ["/livez", "/readyz"].includes(path)) {
    findings.at(at, `${path} is taken by a probe`, "write another one");
  }
  const taken: [string, string][] = [];
  rawList(root["listeners"]).forEach((listener, i) => {
    const address = rawText(rawMap(listener)["address"]);
    if (address !== null) taken.push([address, `listeners[${i}]`]);
  });
  const own: [Path, unknown][] = [
    [["telemetry", "metrics", "listen"], metrics["listen"]],
    [["admin", "listen"], admin["listen"]],
  ];
  for (const [path, value] of own) {
    const written = rawText(value);
    if (written === null) continue;
    const address = parseAddress(written);
    if (typeof address === "string" || (address.kind === "tcp" && address.port === 0)) continue;
    const other = taken.find(([one]) => sameSocket(one, address));
    if (other !== undefined) {
      findings.at(
        path,
        `${findings.quote(path, written)} is taken by ${other[1]} already`,
        "give one of the two another port",
      );
    }
    taken.push([formatAddress(address), path.join(".")]);
  }
}

function checkAdmin(findings: Findings, admin: Readonly<Record<string, unknown>>): void {
  const written = rawText(admin["listen"]);
  const address = written === null ? null : parseAddress(written);
  const token = rawText(admin["token"]);
  const at: Path = ["admin", "token"];
  if (token !== null) {
    if (!findings.isSecret(at)) {
      findings.at(at, "a token in the config file is no secret", "write ${file:path} or ${NAME}");
    } else if (token.length < SHORTEST_TOKEN || /[^!-~]/.test(token)) {
      findings.at(
        at,
        `the token is too short, or holds more than printable ASCII`,
        `use ${SHORTEST_TOKEN} characters or more`,
      );
    }
  }
  if (address === null || typeof address === "string" || address.kind !== "tcp") return;
  if (!isLoopback(address.host)) {
    findings.at(
      ["admin", "listen"],
      `${findings.quote(["admin", "listen"], written!)} can be reached from other hosts`,
      "write a unix socket or an address of this host, such as 127.0.0.1:6190",
    );
  }
  if (token !== null || admin["token"] !== undefined) return;
  findings.atKey(
    ["admin"],
    '"token" is missing in admin: whoever is on this host could connect',
    "add token: ${file:path}, or listen on a unix socket",
  );
}

function isLoopback(host: string): boolean {
  return ipaddr.isValid(host) && ipaddr.process(host).range() === "loopback";
}
