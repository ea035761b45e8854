/**
 * What must hold for the keys of `server`, and between them and the rest.
 *
 * @module
 */
import type { Path } from "./document.ts";
import type { Findings } from "./findings.ts";
import { rawList, rawMap } from "./raw.ts";

/** Checks `server`. */
export function checkServer(
  findings: Findings,
  root: Readonly<Record<string, unknown>>,
): void {
  const server = rawMap(root["server"]);
  if (server["grace_period_seconds"] !== undefined && server["grace_period"] !== undefined) {
    findings.atKey(
      ["server", "grace_period_seconds"],
      "grace_period and grace_period_seconds are the same",
      "remove one of the two",
    );
  }
  if (server["user"] !== undefined) checkOtherUser(findings, rawList(root["listeners"]));
  const output: Path = ["telemetry", "access_log", "output"];
  const log = rawMap(rawMap(root["telemetry"])["access_log"]);
  if (server["daemon"] === true && log["output"] === "stdout") {
    findings.at(output, "a daemon has no standard output", "name a file, or remove server.daemon");
  }
}

/** What is done when the program has become another user, and only root could do. */
function checkOtherUser(findings: Findings, listeners: readonly unknown[]): void {
  listeners.forEach((listener, i) => {
    const { engine, unix_owner: owner } = rawMap(listener);
    if (engine === "epoll") {
      findings.at(
        ["listeners", i, "engine"],
        "with server.user, the right ffi is not given to workers",
        "write engine: handle",
      );
    }
    if (owner !== undefined) {
      findings.atKey(
        ["listeners", i, "unix_owner"],
        "with server.user, socket files belong to that user, who cannot give them away",
        "remove it; server.group says whose group they are of",
      );
    }
  });
}
