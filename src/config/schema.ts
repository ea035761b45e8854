/**
 * The shape of the config file: every key, its kind, default and meaning. JSON Schema and the manual are made
 * from it.
 *
 * @module
 */
import { z } from "zod";
import { DOWNSTREAM_LIMITS } from "../http/limits.ts";
import {
  address,
  cidr,
  duration,
  integer,
  leaf,
  name,
  Refusal,
  size,
  text,
  yesNo,
} from "./leaves.ts";
import { mapping, optional, required, withDefault } from "./schema_base.ts";
import { listenerTls, proxyProtocol, unixOwner } from "./schema_listener_tls.ts";
import { serverSchema } from "./schema_server.ts";
import { serviceSchema } from "./schema_services.ts";
import { upstreamSchema } from "./schema_upstreams.ts";
import { listenerHttp2 } from "./schema_http2.ts";
import { formatDuration, formatSize } from "./units.ts";

const LIMITS = DOWNSTREAM_LIMITS;

const limits = () =>
  mapping({
    head_bytes: withDefault(
      size(1024, 1024 * 1024),
      formatSize(LIMITS.headBytes),
      "Request line and fields together, in HTTP/1; over it: 431.",
    ),
    fields: withDefault(integer(1, 1000), LIMITS.fields, "Number of fields; over it: 431."),
    target_bytes: withDefault(
      size(16, 1024 * 1024),
      formatSize(LIMITS.targetBytes),
      "Length of path and query; over it: 414.",
    ),
    body_bytes: withDefault(
      size(),
      LIMITS.bodyBytes,
      "Content of one request; over it: 413; `0`: no limit.",
    ),
    header_timeout: withDefault(
      duration(1),
      formatDuration(LIMITS.headerTimeout),
      "From the first byte of a request head to its last, and for a fresh connection to begin; over it: 408.",
    ),
    body_timeout: withDefault(
      duration(1),
      formatDuration(LIMITS.bodyTimeout),
      "Between two pieces of request content; over it: 408.",
    ),
    body_min_rate: withDefault(
      size(),
      LIMITS.bodyMinRate,
      "Bytes per second that request content must come with, after `body_timeout`; `0`: off.",
    ),
    keep_alive_timeout: withDefault(
      duration(),
      formatDuration(LIMITS.keepAliveTimeout),
      "How long an idle connection is kept for its next request.",
    ),
    requests_per_connection: withDefault(
      integer(0),
      LIMITS.requestsPerConnection,
      "Requests that one connection may carry; `0`: no limit.",
    ),
    write_timeout: withDefault(
      duration(1),
      formatDuration(LIMITS.writeTimeout),
      "How long a write may wait for the client to read.",
    ),
    min_send_rate: withDefault(
      size(),
      LIMITS.minSendRate,
      "Bytes per second that a client must read, instead of `write_timeout`; `0`: off.",
    ),
    drain_bytes: withDefault(
      size(),
      formatSize(LIMITS.drainBytes),
      "Unread request content that is read and thrown away to keep an HTTP/1 connection.",
    ),
    drain_timeout: withDefault(
      duration(),
      formatDuration(LIMITS.drainTimeout),
      "How long that may take.",
    ),
  });

const unixMode = () =>
  leaf('a file mode in quotes such as "0660"', { type: "string", pattern: "^0?[0-7]{3}$" }, (
    value,
  ) => {
    if (typeof value === "number") {
      return new Refusal("it is not text", `quote it: "${String(value).padStart(4, "0")}"`);
    }
    if (typeof value !== "string") return new Refusal("", "", true);
    return /^0?[0-7]{3}$/.test(value) ? parseInt(value, 8) : new Refusal("");
  });

const listener = () =>
  mapping({
    name: optional(name(), "Name for services to refer to. Default: the address."),
    address: required(
      address(),
      "Where to listen: `host:port`, `[ipv6]:port` in quotes, `:port` (all IPv4 addresses) or `unix:/path`.",
    ),
    protocols: withDefault(
      z.array(z.enum(["h1", "h2", "h2c"])).min(1),
      ["h1", "h2"],
      "What is spoken: `h1` is HTTP/1, `h2` HTTP/2 where TLS agrees on it by ALPN, `h2c` HTTP/2 without TLS, by prior knowledge, beside `h1` on the same port.",
    ),
    tls: optional(listenerTls(), "TLS. Default: clear text."),
    proxy_protocol: optional(
      proxyProtocol(),
      "The PROXY protocol, from proxies in front of us that speak no HTTP. Default: it is not spoken.",
    ),
    engine: withDefault(
      z.enum(["deno", "handle", "epoll", "auto"]),
      "auto",
      "What carries clear-text connections over TCP: see below. `auto` takes the cheapest that can serve without a drawback.",
    ),
    unix_mode: withDefault(unixMode(), "0660", "Mode of a unix socket file."),
    unix_owner: optional(unixOwner(), "Who owns a unix socket file. Default: whoever runs this."),
    backlog: withDefault(
      integer(1, 65_535),
      511,
      "Connections that may wait to be accepted.",
    ),
    max_connections: withDefault(
      integer(1),
      10_000,
      "Most open connections per service worker; further ones are closed at once.",
    ),
    max_tunnels: withDefault(
      integer(0),
      10_000,
      "Most tunnels (WebSockets, other upgrades, CONNECT) at a time per service worker, with requests that wait to become one; further ones are answered 503.",
    ),
    limits: withDefault(limits(), {}, "What a client may do, and how long it may take."),
    plugin_body_buffer: withDefault(
      size(0, 256 * 1024 * 1024),
      "1MiB",
      "Most request content that a plugin may read as a whole.",
    ),
    allow_connect: withDefault(
      yesNo(),
      false,
      "Whether CONNECT is passed on; otherwise it is answered 405.",
    ),
    abort_on_close: withDefault(
      yesNo(),
      false,
      "Whether a client that has finished writing counts as gone. One of HTTP/2 always does.",
    ),
    trusted_proxies: optional(
      z.array(cidr()),
      "Networks whose `X-Forwarded-*` and `Forwarded` fields are believed. Default: the `trusted_proxies` of the top level.",
    ),
    forwarded: withDefault(
      z.enum(["x_forwarded", "rfc7239", "both", "off"]),
      "x_forwarded",
      "Which fields tell the upstream who the client is.",
    ),
    http2: withDefault(listenerHttp2(), {}, "Bounds of HTTP/2 connections, beside `limits`."),
  });

const permissionList = (what: string, description: string) =>
  optional(z.union([yesNo(), z.array(text(what))]), description);

const grant = () =>
  z.union([
    z.literal("as-requested"),
    mapping({
      net: permissionList("host:port", "Hosts, `host:port`, `*.domain` or networks; `true`: any."),
      read: permissionList("a path", "Files and folders; relative to the plugin."),
      write: permissionList("a path", "Files and folders; relative to the plugin."),
      env: permissionList("a name", "Environment variables."),
      sys: permissionList("a kind", "Kinds of system information, as in `Deno.permissions`."),
    }),
  ]);

/** A value for all plugins, or plugin names to values. */
const perPlugin = <S extends z.ZodType>(value: S) => z.union([value, z.record(z.string(), value)]);

const plugins = () =>
  mapping({
    directory: optional(
      text("the path of a folder"),
      "Folder of the plugins: each is a file `name.ts` or a folder `name/` with `mod.ts`.",
    ),
    grant: withDefault(
      z.record(z.string(), grant()),
      {},
      "Plugin name to rights: `as-requested`, or a mapping. What is not granted is denied.",
    ),
    isolation: withDefault(
      perPlugin(z.enum(["worker", "process", "inline"])),
      "worker",
      "How plugins are kept apart, for all or by name.",
    ),
    trust: withDefault(
      z.array(name()),
      [],
      "Plugins that may run `inline`, inside the service worker.",
    ),
    on_error: optional(
      perPlugin(z.enum(["fail_closed", "fail_open"])),
      "What a failed hook does to the request, for all or by name. Default: what the plugin says.",
    ),
    timeout: optional(
      perPlugin(duration(1)),
      "Deadline of one hook call, for all or by name. Default: what the plugin or the phase says.",
    ),
    load_timeout: optional(
      perPlugin(duration(1)),
      "How long a plugin may take to load, and then to set up, for all or by name. Default: 15s.",
    ),
    heap: optional(
      perPlugin(size(8 * 1024 * 1024, 4 * 1024 ** 3)),
      "Heap of the sandbox, for all or by name. Default: what the plugin says, or 64MiB.",
    ),
    disabled: withDefault(
      z.array(name()),
      [],
      "Plugins of the folder that do not run. No route may name them.",
    ),
  });

const telemetry = () =>
  mapping({
    access_log: withDefault(
      mapping({
        output: withDefault(
          text("off, stdout or the path of a file"),
          "off",
          "`off`, `stdout`, or a file, which is appended to.",
        ),
        format: withDefault(z.enum(["json"]), "json", "One JSON object per line."),
        query: withDefault(
          z.enum(["keep", "redact", "drop"]),
          "redact",
          "Query strings: kept, kept without the values of secret parameters, or left out.",
        ),
      }),
      {},
      "A line for each request.",
    ),
    log: withDefault(
      mapping({
        level: withDefault(
          z.enum(["debug", "info", "warning", "error"]),
          "info",
          "The least severe lines to write.",
        ),
        format: withDefault(
          z.enum(["text", "json"]),
          "text",
          "How lines are written.",
        ),
      }),
      {},
      "The operational log, on stderr.",
    ),
    metrics: optional(
      mapping({
        listen: optional(
          address(),
          "Where metrics can be asked for besides the admin interface, such as `127.0.0.1:6192` or `unix:/path`; by anybody who can connect.",
        ),
        path: withDefault(
          text("a path such as /metrics"),
          "/metrics",
          "Under which path; `/livez` and `/readyz` are answered there, too.",
        ),
      }),
      "Counts requests, connections, upstreams and plugins, for Prometheus. Default: nothing is counted.",
    ),
  });

const admin = () =>
  z.union([
    z.literal("off"),
    mapping({
      listen: optional(
        address(),
        "`unix:/path`, or an address of this host such as `127.0.0.1:6190`, which needs a `token`. Default: a unix socket in the runtime directory, named after the config file.",
      ),
      token: optional(
        text("a token, as ${file:path} or ${NAME}"),
        "What clients must show as `Authorization: Bearer …`; from a file or the environment.",
      ),
    }),
  ]);

/** The schema of the whole file. */
export const FILE_SCHEMA = mapping({
  version: withDefault(
    z.literal(1),
    1,
    "Version of the format.",
  ),
  server: withDefault(serverSchema(), {}, "The program as a whole."),
  trusted_proxies: withDefault(
    z.array(cidr()),
    [],
    "Networks of proxies in front of us, for every listener that does not name its own.",
  ),
  listeners: required(z.array(listener()).min(1), "Where clients connect."),
  services: required(z.array(serviceSchema()).min(1), "What becomes of requests."),
  upstreams: withDefault(z.array(upstreamSchema()), [], "Who is asked."),
  plugins: withDefault(plugins(), {}, "Where plugins are, and what they may do."),
  telemetry: withDefault(telemetry(), {}, "Logs and metrics."),
  admin: withDefault(
    admin(),
    {},
    "The interface for operators, which `sluice status` and other verbs use; `off`: there is none.",
  ),
});

/** The file after the schema: keys as written, values read, defaults filled in. */
export type FileData = z.output<typeof FILE_SCHEMA>;
export type ServiceData = FileData["services"][number];
export type RouteData = ServiceData["routes"][number];
export type UpstreamData = FileData["upstreams"][number];
export type MatchData = RouteData["match"];
export type UseData = RouteData["plugins"][number];
