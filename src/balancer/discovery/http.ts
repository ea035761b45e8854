/**
 * Endpoints from an HTTP server that answers with JSON, asked again and again.
 *
 * @module
 */
import { ProxyError } from "../../base/error.ts";
import { createPeer, type Peer, PEER_OPTIONS, type PeerTls } from "../../connector/peer.ts";
import { checkFieldName, checkFieldValue } from "../../http/field_checks.ts";
import { checkTarget } from "../../http/message.ts";
import { reason } from "../../transport/io_error.ts";
import { exchange, ownConnector } from "../health/http_exchange.ts";
import { type Discovery, type DiscoveryTools, MOST_BYTES } from "./discovery.ts";
import { parseEndpoints } from "./endpoint_list.ts";
import { POLL_SETTINGS, PolledDiscovery, type PollSettings } from "./polled.ts";

/** Settings. Plain data. */
export interface HttpConfig extends PollSettings {
  readonly type: "http";
  /** `http://` or `https://`, without user name and fragment. Redirects are not followed. */
  readonly url: string;
  /** Further fields, such as Authorization. */
  readonly headers: Readonly<Record<string, string>>;
  /** TLS for an `https://` URL; `null`: the host of the URL, checked against the roots of the system. */
  readonly tls: PeerTls | null;
  /** Whether a list without entries is believed. */
  readonly allowEmpty: boolean;
}

/** Settings where nothing else is said; `url` has no default. */
export const HTTP: Omit<HttpConfig, "url"> = {
  ...POLL_SETTINGS,
  type: "http",
  headers: {},
  tls: null,
  allowEmpty: false,
};

const OWN_FIELDS = new Set([
  ...["host", "connection", "content-length", "transfer-encoding", "upgrade"],
  ...["if-none-match", "accept-encoding"],
]);

/** The stages have no time of their own: that of the whole answer is over first. */
const LONG = 2 ** 31 - 1;

/** @throws {ProxyError} `config_error` if the settings make no sense. */
export function createHttp(config: HttpConfig, tools: DiscoveryTools): Discovery {
  const url = readUrl(config);
  const peer = peerOf(url, config.tls);
  const target = `${url.pathname}${url.search}`;
  // A query may hold a secret.
  const context = `Asking ${url.origin}${url.pathname}`;
  refuseBadFields(config, target, context);
  const connector = ownConnector(tools);
  const common: [string, string][] = [["Host", url.host]];
  const given = Object.entries(config.headers);
  const has = (name: string) => given.some(([key]) => key.toLowerCase() === name);
  if (!has("user-agent")) common.push(["User-Agent", "Sluice-Discovery"]);
  if (!has("accept")) common.push(["Accept", "application/json"]);
  common.push(["Accept-Encoding", "identity"], ...given);
  let known: string | null = null;
  return new PolledDiscovery({
    ...config,
    tools,
    context,
    read: async (run) => {
      const condition: [string, string][] = known === null ? [] : [["If-None-Match", known]];
      const fields = [...common, ...condition];
      const request = { method: "GET", target, fields, keep: ["content-encoding", "etag"] };
      const answer = await exchange(connector, peer, request, MOST_BYTES, run);
      if (answer.status === 304 && known !== null) return { endpoints: null, next: null };
      const fail = (why: string, type: "http_status" | "invalid_response"): never => {
        throw new ProxyError(type, `${context}: ${why}`, { source: "upstream" });
      };
      if (answer.status !== 200) fail(`status ${answer.status}, expected 200`, "http_status");
      if (answer.truncated) fail(`more than ${MOST_BYTES} bytes`, "invalid_response");
      const coding = answer.fields.get("content-encoding") ?? null;
      if (coding !== null && coding.toLowerCase() !== "identity") {
        fail(
          `the content is encoded (${coding}) though that was not asked for`,
          "invalid_response",
        );
      }
      const value = parseJson(answer.content, context);
      const endpoints = parseEndpoints(value, {
        context,
        errorType: "invalid_response",
        unix: false,
      });
      return {
        endpoints,
        next: null,
        onAccepted: () => {
          known = answer.fields.get("etag") ?? null;
        },
      };
    },
    onStop: () => connector.close(),
  });
}

function readUrl({ url: text }: HttpConfig): URL {
  let url: URL | null = null;
  try {
    url = new URL(text);
  } catch {
    // Told below.
  }
  const why = url === null
    ? "it is not a URL"
    : url.protocol !== "http:" && url.protocol !== "https:"
    ? "the scheme must be http or https"
    : url.username !== "" || url.password !== ""
    ? "it has a user name; set the authorization field instead"
    : url.hash !== ""
    ? "it has a fragment, which is never sent"
    : url.port === "0"
    ? "port 0 cannot be connected to"
    : null;
  if (why === null) return url!;
  // The text is not shown: it may hold a password.
  throw new ProxyError("config_error", `URL of a discovery: ${why}`, { source: "internal" });
}

function peerOf(url: URL, tls: PeerTls | null): Peer {
  const secure = url.protocol === "https:";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port === "" ? secure ? 443 : 80 : Number(url.port);
  return createPeer({
    address: { kind: "tcp", host, port },
    tls: !secure ? null : tls ?? {
      serverName: host,
      alternativeName: null,
      verify: true,
      verifyHostname: true,
      ca: null,
      clientCertificate: null,
    },
    options: {
      ...PEER_OPTIONS,
      firstByteTimeout: LONG,
      readTimeout: LONG,
      writeTimeout: LONG,
      idleTimeout: 0,
    },
  });
}

function refuseBadFields(config: HttpConfig, target: string, context: string): void {
  try {
    checkTarget(target);
    for (const [name, value] of Object.entries(config.headers)) {
      checkFieldName(name);
      checkFieldValue(name, value);
      if (OWN_FIELDS.has(name.toLowerCase())) {
        throw new TypeError(`the field "${name}" is set by the discovery itself`);
      }
    }
  } catch (error) {
    throw new ProxyError("config_error", `${context}: ${reason(error)}`, { source: "internal" });
  }
}

function parseJson(content: Uint8Array, context: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(content));
  } catch (error) {
    throw new ProxyError("invalid_response", `${context}: it is not JSON: ${reason(error)}`, {
      source: "upstream",
      cause: error,
    });
  }
}
