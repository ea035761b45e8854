/**
 * The commands of the verbs that ask a running program.
 *
 * @module
 */
import type { Command } from "commander";
import {
  changeMember,
  listUpstreams,
  logLevel,
  readWeight,
  restartPlugin,
  type ShowFlags,
  showMetrics,
  showStatus,
  stop,
} from "./admin_verbs.ts";
import { reload, upgrade } from "./reload_verbs.ts";
import { type AdminFlags, TOKEN_VARIABLE } from "./admin_client.ts";
import { example } from "./help.ts";
import type { Output } from "./output.ts";

/** Adds the flags that say which program is asked. */
export function withAdminFlags(command: Command): Command {
  return command
    .option("-c, --config <file>", "config file that the program runs (default: sluice.yaml)")
    .option(
      "--admin <address>",
      `its admin interface: unix:/path or host:port, with the token in ${TOKEN_VARIABLE}`,
    );
}

/** Adds `status`, `upstreams`, `log-level`, `metrics`, `reload`, `upgrade` and `stop`. */
export function addAdminCommands(root: Command, output: Output): void {
  withAdminFlags(root.command("status"))
    .description("say how the running program is")
    .option("--json", "print the answer as JSON", false)
    .addHelpText("after", example("sluice status", "sluice status --json"))
    .action((flags: ShowFlags) => showStatus(flags, output));
  addUpstreams(root, output);
  withAdminFlags(root.command("log-level [level]"))
    .description(
      "print the log level of the running program, or set it: debug, info, warning, error",
    )
    .addHelpText("after", example("sluice log-level debug"))
    .action((level: string | undefined, flags: AdminFlags) => logLevel(level, flags, output));
  withAdminFlags(root.command("metrics"))
    .description("print the metrics of the running program, in the format of Prometheus")
    .addHelpText("after", example("sluice metrics | grep upstream"))
    .action((flags: AdminFlags) => showMetrics(flags, output));
  withAdminFlags(root.command("reload"))
    .description("have the running program read its config and serve by it, all or nothing")
    .option("--wait", "return when that is done, and fail if it is refused (the default)", true)
    .option("--no-wait", "return when it has been told; what becomes of it, its log says")
    .addHelpText("after", example("sluice reload"))
    .action((flags: AdminFlags & { wait: boolean }) => reload(flags, output));
  withAdminFlags(root.command("upgrade"))
    .description("put a new process in the place of the running one, without a refused connection")
    .addHelpText("after", example("sluice upgrade"))
    .action((flags: AdminFlags) => upgrade(flags, output));
  withAdminFlags(root.command("stop"))
    .description("have the running program finish what it has, and end")
    .option("--wait", "return when it has ended", false)
    .addHelpText("after", example("sluice stop --wait"))
    .action((flags: AdminFlags & { wait: boolean }) => stop(flags, output));
}

function addUpstreams(root: Command, output: Output): void {
  const upstreams = root.command("upstreams")
    .description("look at the upstreams of the running program, and take endpoints out and in")
    .helpCommand(false)
    .addHelpText("after", example("sluice upstreams list"));
  withAdminFlags(upstreams.command("list", { isDefault: true }))
    .description("print groups, endpoints, their state, weight and load")
    .option("--json", "print the answer as JSON", false)
    .addHelpText("after", example("sluice upstreams list", "sluice upstreams list --json"))
    .action((flags: ShowFlags) => listUpstreams(flags, output));
  for (const enabled of [true, false]) {
    const verb = enabled ? "enable" : "disable";
    withAdminFlags(upstreams.command(`${verb} <upstream> <endpoint>`))
      .description(
        enabled
          ? "give an endpoint requests again"
          : "have an endpoint finish what it has and give it nothing new",
      )
      .addHelpText("after", example(`sluice upstreams ${verb} app 10.0.0.7:8080`))
      .action((upstream: string, endpoint: string, flags: AdminFlags) =>
        changeMember([upstream, endpoint], { enabled }, flags, output)
      );
  }
  withAdminFlags(upstreams.command("weight <upstream> <endpoint> <weight>"))
    .description('set the weight of an endpoint; "config": what config or discovery say')
    .addHelpText(
      "after",
      example(
        "sluice upstreams weight app 10.0.0.7:8080 3",
        "sluice upstreams weight app 10.0.0.7:8080 config",
      ),
    )
    .action((upstream: string, endpoint: string, weight: string, flags: AdminFlags) =>
      changeMember([upstream, endpoint], { weight: readWeight(weight) }, flags, output)
    );
}

/** Adds `plugin restart`. */
export function addPluginRestart(plugin: Command, output: Output): void {
  withAdminFlags(plugin.command("restart <name>"))
    .description("start a plugin of the running program anew, from what is on disk")
    .addHelpText("after", example("sluice plugin restart geo-block"))
    .action((name: string, flags: AdminFlags) => restartPlugin(name, flags, output));
}
