/**
 * Answers 503 to everybody but those who do the work.
 *
 * It is on when the config says `enabled: true`, or while the file `ON` is in the folder of the plugin; the
 * file is looked for every two seconds. So `touch plugins/maintenance/ON` closes the shop, and
 * `rm plugins/maintenance/ON` opens it again, without a restart and without any rights beyond the plugin's own
 * folder.
 *
 * ```yaml
 * plugins:
 *   - use: maintenance
 *     with:
 *       allow: [10.0.0.0/8, "2001:db8::/32"]
 *       retry_after: 600
 *       message: We are back at noon.
 * ```
 *
 * @module
 */
import { definePlugin, type Log } from "@sluice/plugin";
import { z } from "zod";
import { isListed, parseNetwork } from "./networks.ts";
import { makePage, wantsPage } from "./page.ts";

const config = z.strictObject({
  /** On, whether or not there is a file. */
  enabled: z.boolean().default(false),
  /** Name of the file in the plugin's folder that turns it on; `null`: no file is looked for. */
  file: z.string().regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/, "must be the name of a file")
    .nullable()
    .default("ON"),
  /** Clients that are let through: addresses and networks. */
  allow: z.array(
    z.string().refine((text) => parseNetwork(text) !== null, "must be an IP address or a network"),
  ).max(1024).default([]),
  /** Seconds after which clients may come back. */
  retry_after: z.int().min(1).max(604_800).default(300),
  title: z.string().min(1).max(200).default("Down for maintenance"),
  message: z.string().max(2000).default("We are working on it. Please come back in a few minutes."),
});

/** Whether a file is there, and when it was found out that nobody can tell. */
interface Switch {
  readonly path: string | null;
  on: boolean;
  unreadable: boolean;
}

/** Looks for the file. When nobody can tell, what was known stays. */
export async function look(flag: Switch, log: Log): Promise<void> {
  if (flag.path === null) return;
  try {
    await Deno.stat(flag.path);
    if (!flag.on) log.info("Maintenance begins: the file is there");
    flag.on = true;
    flag.unreadable = false;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      if (flag.on) log.info("Maintenance is over: the file is gone");
      flag.on = false;
      flag.unreadable = false;
    } else if (!flag.unreadable) {
      flag.unreadable = true;
      log.error("Cannot look for the file", { reason: String(error) });
    }
  }
}

export default definePlugin({
  name: "maintenance",
  version: "1.0.0",
  config,
  tickInterval: "2s",
  async setup({ config, directory, log }) {
    const flag: Switch = {
      path: config.file === null ? null : `${directory}/${config.file}`,
      on: false,
      unreadable: false,
    };
    await look(flag, log);
    const allow = config.allow.flatMap((text) => {
      const network = parseNetwork(text);
      return network === null ? [] : [network];
    });
    return { flag, allow, page: makePage(config) };
  },
  async tick({ state, log }) {
    await look(state.flag, log);
  },
  earlyRequestFilter(session, { config, state }) {
    if (!config.enabled && !state.flag.on) return;
    if (isListed(state.allow, session.client.address)) return;
    const headers = { "retry-after": String(config.retry_after), "cache-control": "no-store" };
    if (wantsPage(session.request.headers.get("accept"))) {
      return session.respond(503, state.page, {
        headers: { ...headers, "content-type": "text/html; charset=utf-8" },
      });
    }
    return session.respond(503, { title: config.title, detail: config.message }, { headers });
  },
});
