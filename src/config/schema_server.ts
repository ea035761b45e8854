/**
 * The shape of `server`.
 *
 * @module
 */
import { isIP } from "node:net";
import { z } from "zod";
import { parseAddress } from "../transport/address.ts";
import { ACCOUNT_NAME, MOST_ID } from "./accounts.ts";
import { duration, integer, leaf, netRight, Refusal, text, yesNo } from "./leaves.ts";
import { mapping, optional, withDefault } from "./schema_base.ts";

/** `server`. */
export const serverSchema = () =>
  mapping({
    threads: withDefault(
      z.union([z.literal("auto"), integer(1, 256)]),
      "auto",
      "Service workers per service; `auto`: as many as there are cores.",
    ),
    grace_period: withDefault(
      duration(),
      "10s",
      "How long a drain may take before what is left is cut off.",
    ),
    shutdown_delay: withDefault(
      duration(),
      "0s",
      "How long to go on serving after a drain was asked for, while `/readyz` says no: for load balancers to notice.",
    ),
    retire_timeout: withDefault(
      duration(),
      "1h",
      "How long what a reload has replaced may go on with the requests and tunnels it has: workers and plugins.",
    ),
    max_retired: withDefault(
      integer(0, 256),
      8,
      "How many replaced workers per service, and editions of plugins, may go on at a time; the oldest is cut first.",
    ),
    max_retired_editions: withDefault(
      integer(0, 4096),
      64,
      "How many editions of the config before the one that serves may have requests and tunnels left in a service worker; those of the oldest are cut first.",
    ),
    watch: withDefault(
      yesNo(),
      false,
      "Whether to reload by itself when the config file or a plugin changes.",
    ),
    error_log: optional(
      text("the path of a file"),
      "File that the operational log is appended to, opened anew at SIGUSR2. Default: stderr.",
    ),
    working_directory: optional(
      text("the path of a folder"),
      "Folder to work in from the start. Paths in this file are relative to the file all the same.",
    ),
    pid_file: optional(
      text("the path of a file"),
      "File with the id of the process: written when it serves, removed at its end. Default: none; with `daemon`, one beside the usual admin socket.",
    ),
    user: optional(
      account("user"),
      "User to become when ports are bound, by its name in `/etc/passwd` or its number. Needs Linux, root and the right ffi.",
    ),
    group: optional(
      account("group"),
      "Group to become with `user`, by its name in `/etc/group` or its number. Default: that of the user.",
    ),
    daemon: withDefault(
      yesNo(),
      false,
      "Whether to go on in the background, in a session of its own; who starts it waits until it serves. Needs Linux and the right ffi.",
    ),
    daemon_ready_timeout: withDefault(
      duration(1_000),
      "60s",
      "How long the process in the background may need until it serves; it is ended then.",
    ),
    upgrade_sock: optional(
      text("the path of a socket"),
      "Unix socket, mode 0600, over which a process takes the place of this one. Default: in a folder of its own.",
    ),
    upgrade_timeout: withDefault(
      duration(1_000),
      "60s",
      "How long a process that is to take over may need until it serves; this one then goes on.",
    ),
    heartbeat_timeout: withDefault(
      duration(2_000),
      "10s",
      "Silence after which a service worker counts as hanging and is replaced; it says each second that it is alive.",
    ),
    grace_period_seconds: optional(
      integer(0, 86_400),
      "The same as `grace_period`, as Pingora spells it.",
    ),
    max_retries: withDefault(
      integer(0, 16),
      4,
      "Attempts per request beyond the first, whatever the routes say.",
    ),
    allowed_peers: withDefault(
      z.array(netRight()),
      [],
      "Addresses that plugins may name as a peer, beside the endpoints of `upstreams`: `host:port`, `host`, `*.domain` or a network.",
    ),
    name_servers: withDefault(
      z.array(nameServer()),
      [],
      "Name servers for the names of upstreams, as `ip` or `ip:port`, in place of the system's way to look names up; the hosts file comes first all the same. Discovery has its own.",
    ),
    upstream_keepalive_pool_size: withDefault(
      integer(0, 65_536),
      1024,
      "Idle upstream connections per service worker, over all upstreams.",
    ),
    ca_file: optional(
      text("the path of a PEM file"),
      "PEM file with the roots to trust in upstreams. Default: those of the system.",
    ),
  });

const nameServer = () =>
  leaf(
    "the IP address of a name server, with a port if it is not 53",
    { type: "string" },
    (value) => {
      if (typeof value !== "string") return new Refusal("", "", true);
      const bare = isIP(value) === 0 ? parseAddress(value) : null;
      if (bare === null) return value;
      if (typeof bare === "string" || bare.kind === "unix" || isIP(bare.host) === 0) {
        return new Refusal("it is no IP address", "write 10.0.0.2 or 10.0.0.2:5353");
      }
      return value;
    },
  );

/** A user or a group. */
const account = (kind: "user" | "group") =>
  leaf<string | number>(
    `the name or the number of a ${kind}`,
    { anyOf: [{ type: "string" }, { type: "integer", minimum: 0 }] },
    (value) => {
      if (typeof value === "number") {
        return Number.isInteger(value) && value >= 0 && value <= MOST_ID
          ? value
          : new Refusal("it is out of range", `write a whole number from 0 to ${MOST_ID}`);
      }
      if (typeof value !== "string") return new Refusal("", "", true);
      if (!ACCOUNT_NAME.test(value)) {
        return new Refusal("", `write it as /etc/${kind === "user" ? "passwd" : "group"} has it`);
      }
      return value;
    },
  );
