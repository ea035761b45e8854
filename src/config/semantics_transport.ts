/**
 * What must hold within the transport of an upstream.
 *
 * @module
 */
import { HTTP2_PEER_OPTIONS } from "../connector/http2_options.ts";
import type { Path } from "./document.ts";
import type { Findings } from "./findings.ts";
import { type EndpointAddress, parseEndpoint, Refusal } from "./leaves.ts";
import { rawDuration, rawInteger, rawMap, rawText } from "./raw.ts";
import { checkFields, type FieldNames } from "./semantics_fields.ts";
import { parseSize } from "./units.ts";

type Raw = Readonly<Record<string, unknown>>;

const FIELDS: FieldNames = {
  own: new Set(["host"]),
  allowed: new Set(["proxy-authorization"]),
};

/** Checks connections: versions, reserves and ways around. */
export function checkTransport(
  findings: Findings,
  path: Path,
  transport: Raw,
  endpoints: readonly { readonly at: Path; readonly endpoint: EndpointAddress }[],
): void {
  checkVersions(findings, [...path, "tls"], rawMap(transport["tls"]));
  checkPrewarm(findings, path, transport);
  const tls = transport["tls"];
  const isEncrypted = tls === true || (typeof tls === "object" && tls !== null) ||
    endpoints.some(({ endpoint }) => endpoint.tls === true);
  checkProtocol(findings, path, transport, isEncrypted);
  if (transport["proxy"] !== undefined) {
    checkProxy(findings, [...path, "proxy"], rawMap(transport["proxy"]), endpoints);
  }
  if (
    transport["local_address_fallback"] !== undefined && transport["local_address"] === undefined
  ) {
    findings.atKey(
      [...path, "local_address_fallback"],
      "local_address_fallback means nothing without local_address",
      "remove it",
    );
  }
}

function checkVersions(findings: Findings, path: Path, tls: Raw): void {
  if (String(tls["min_version"]) !== "1.3" || String(tls["max_version"]) !== "1.2") return;
  findings.at(
    [...path, "min_version"],
    "min_version is newer than max_version, so no version is left",
    "remove max_version",
  );
}

/** What is spoken must fit what it is spoken over. */
function checkProtocol(findings: Findings, path: Path, transport: Raw, isEncrypted: boolean): void {
  const protocol = rawText(transport["protocol"]) ?? "h1";
  const at = [...path, "protocol"];
  if (protocol === "h2" && !isEncrypted) {
    findings.at(
      at,
      "h2 is HTTP/2 over TLS, and there is no TLS",
      "write h2c, or https:// before the endpoints",
    );
  } else if (protocol === "h2c" && isEncrypted) {
    findings.at(at, "h2c is HTTP/2 in clear text, and there is TLS", "write h2 or auto");
  }
  if (transport["http2"] === undefined) return;
  const speaksHttp2 = protocol === "h2" || protocol === "h2c" ||
    (protocol === "auto" && isEncrypted);
  if (!speaksHttp2) {
    findings.atKey(
      [...path, "http2"],
      protocol === "auto"
        ? "http2 means nothing: without TLS, auto is HTTP/1.1"
        : "http2 means nothing when protocol is h1",
      protocol === "auto" ? "write protocol: h2c, or remove it" : "set protocol, or remove it",
    );
    return;
  }
  checkHttp2(findings, [...path, "http2"], rawMap(transport["http2"]), protocol);
}

function checkHttp2(findings: Findings, path: Path, http2: Raw, protocol: string): void {
  if (http2["http1_for"] !== undefined && protocol !== "auto") {
    findings.atKey(
      [...path, "http1_for"],
      `http1_for means nothing when protocol is ${protocol}: there is no HTTP/1.1 to go back to`,
      "write protocol: auto, or remove it",
    );
  }
  const windows = ["stream_window", "connection_window"].map((key) => {
    const written = http2[key];
    const bytes = written === undefined ? null : parseSize(String(written));
    return typeof bytes === "number" ? bytes : null;
  });
  const stream = windows[0] ?? HTTP2_PEER_OPTIONS.streamWindow;
  const connection = windows[1] ?? 0;
  if (connection > 0 && connection < Math.max(stream, 65_535)) {
    findings.at(
      [...path, "connection_window"],
      "the window of a connection is smaller than that of one of its streams",
      "raise it, or write 0 for as much as all streams may have",
    );
  }
}

function checkPrewarm(findings: Findings, path: Path, transport: Raw): void {
  const prewarm = rawInteger(transport["prewarm"]) ?? 0;
  if (prewarm === 0) return;
  const at = [...path, "prewarm"];
  const keepalive = rawMap(transport["keepalive"]);
  const idle = rawInteger(keepalive["max_idle"]);
  const most = rawInteger(transport["max_connections"]) ?? 0;
  if (transport["proxy_protocol"] !== undefined) {
    findings.atKey(
      at,
      "prewarm cannot stand beside proxy_protocol: whom a connection is for is not known before the request",
      "remove one of the two",
    );
  } else if (rawDuration(keepalive["idle_timeout"]) === 0) {
    findings.at(
      at,
      "prewarm means nothing when keepalive.idle_timeout is 0: no connection may wait",
      "remove one of the two",
    );
  } else if (idle !== null && prewarm > idle) {
    findings.at(
      at,
      `prewarm of ${prewarm} is over keepalive.max_idle of ${idle}`,
      "raise max_idle, or lower prewarm",
    );
  } else if (most > 0 && prewarm > most) {
    findings.at(
      at,
      `prewarm of ${prewarm} is over max_connections of ${most}`,
      "raise max_connections, or lower prewarm",
    );
  }
}

function checkProxy(
  findings: Findings,
  path: Path,
  proxy: Raw,
  endpoints: readonly { readonly at: Path; readonly endpoint: EndpointAddress }[],
): void {
  checkFields(findings, [...path, "headers"], rawMap(proxy["headers"]), FIELDS);
  const unix = endpoints.find(({ endpoint }) => endpoint.address.kind === "unix");
  if (unix !== undefined) {
    findings.at(
      unix.at,
      "a unix socket cannot be reached through transport.proxy",
      "remove the proxy, or make an upstream of its own for the socket",
    );
  }
  const written = rawText(proxy["address"]);
  const address = written === null ? null : parseEndpoint(written);
  if (address === null || address instanceof Refusal || address.tls !== true) return;
  findings.at(
    [...path, "address"],
    "the proxy is spoken to in clear text, TLS towards it is not part of this version",
    "write http:// or leave the scheme out; TLS towards the endpoints goes through it",
  );
}
