/**
 * The command line: verbs, flags, help, exit codes.
 *
 * @module
 */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { addAdminCommands, addPluginRestart, withAdminFlags } from "./admin_commands.ts";
import { check } from "./check.ts";
import { dump, listPlugins, printSchema } from "./config_verbs.ts";
import { demo, type DemoFlags } from "./demo.ts";
import { example, flagHint } from "./help.ts";
import { configFile, load } from "./load.ts";
import { CliExit, EXIT, type Output, PROCESS_OUTPUT } from "./output.ts";
import { PROGRAM, type Program } from "./program.ts";
import { diff, type DiffFlags } from "./reload_verbs.ts";
import { explainRoute } from "./route.ts";
import { run, type RunFlags } from "./run.ts";
import { newPlugin } from "./scaffold.ts";
import { VERSION, versionText } from "./version.ts";

/** What {@linkcode runCli} works with; for tests. */
export interface CliOptions {
  readonly program?: Program;
  readonly output?: Output;
}

/**
 * Runs a command line.
 *
 * @param args Without the name of the program.
 * @returns The exit code: `0` ok, `1` failed while running, `2` wrong usage, `78` bad config, `130` a
 * signal cut the end of the program short.
 */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<number> {
  const output = options.output ?? PROCESS_OUTPUT;
  const command = build(options.program ?? PROGRAM, output);
  try {
    await command.parseAsync([...args], { from: "user" });
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CliExit) {
      if (error.message !== "") output.err(error.message);
      return error.code;
    }
    // Help and version end the same way as mistakes, but with 0; help that nobody asked for is a mistake.
    if (error instanceof CommanderError) {
      output.err(flagHint(error.message));
      return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    }
    output.err(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    return EXIT.runtime;
  }
}

function build(program: Program, output: Output): Command {
  const root = new Command("sluice")
    .description("An edge proxy, scriptable in every phase of a request.")
    .version(VERSION, "-V, --version", "print the version")
    .configureOutput({ writeOut: output.out, writeErr: output.err })
    .exitOverride()
    .showHelpAfterError("(add --help for the flags)")
    .helpCommand(false)
    .addHelpText(
      "after",
      example(
        "sluice run --plugins ./plugins --upstream http://127.0.0.1:3000",
        "sluice check -c sluice.yaml",
      ),
    );
  addRun(root, program, output);
  addCheck(root, program, output);
  addDemo(root, program, output);
  addConfig(root, program, output);
  addRoute(root, program, output);
  addPlugin(root, program, output);
  addAdminCommands(root, output);
  root.command("version")
    .description("print the versions of Sluice and Deno")
    .addHelpText("after", example("sluice version"))
    .action(() => output.out(versionText()));
  return root;
}

function addRun(root: Command, program: Program, output: Output): void {
  root.command("run")
    .description("run the proxy, in the foreground or as a daemon")
    .option("-c, --config <file>", "config file (default: sluice.yaml)")
    .option("--plugins <folder>", "without a file: folder of plugins")
    .option("--listen <address>", "without a file: where to listen (default: 127.0.0.1:8080)")
    .option("--upstream <url>", "without a file: where requests go")
    .addOption(
      new Option("--grant <rights>", "without a file: rights of the plugins (default: none)")
        .choices(["as-requested"]),
    )
    .option("--threads <n>", "service workers per service", wholeNumber)
    .option("--access-log <where>", "off, stdout or a file")
    .option("-d, --daemon", "go on in the background; returns when everything serves")
    .option("--watch", "reload when the config file or a plugin changes")
    .option(
      "--admin <address>",
      "without a file: unix:/path of the admin interface (default: none)",
    )
    .addHelpText(
      "after",
      example(
        "sluice run -c sluice.yaml",
        "sluice run -d -c sluice.yaml",
        "sluice run --plugins ./plugins --listen :8080 --upstream http://127.0.0.1:3000",
      ),
    )
    .action((flags: RunFlags) => run(flags, program, output));
}

function addCheck(root: Command, program: Program, output: Output): void {
  root.command("check").alias("validate")
    .description("load config, plugins and grants, and bind nothing")
    .option("-c, --config <file>", "config file (default: sluice.yaml)")
    .option("--json", "print the result as JSON", false)
    .addHelpText("after", example("sluice check -c sluice.yaml", "sluice check --json"))
    .action((flags: { config?: string; json: boolean }) =>
      check(configFile(flags.config), flags.json, program, output)
    );
}

function addDemo(root: Command, program: Program, output: Output): void {
  root.command("demo")
    .description("run a demo origin behind the proxy, with the plugins that come with it")
    .option("--listen <address>", "where to listen", "127.0.0.1:8080")
    .option("--threads <n>", "service workers", wholeNumber)
    .addHelpText("after", example("sluice demo", "sluice demo --listen 127.0.0.1:9000"))
    .action((flags: DemoFlags) => demo(flags, program, output));
}

function addConfig(root: Command, program: Program, output: Output): void {
  const config = root.command("config")
    .description("look at configs")
    .helpCommand(false)
    .addHelpText("after", example("sluice config schema > sluice.schema.json"));
  config.command("schema")
    .description("print the JSON Schema of the config file, for editors")
    .option("--plugins <folder>", "include the configs of these plugins")
    .addHelpText("after", example("sluice config schema --plugins ./plugins > sluice.schema.json"))
    .action((flags: { plugins?: string }) => printSchema(flags.plugins, program, output));
  config.command("dump")
    .description("print the config with every default filled in")
    .option("-c, --config <file>", "config file (default: sluice.yaml)")
    .addHelpText("after", example("sluice config dump -c sluice.yaml"))
    .action(async (flags: { config?: string }) =>
      dump(await load(configFile(flags.config), program), output)
    );
  addConfigDiff(config, program, output);
}

function addConfigDiff(config: Command, program: Program, output: Output): void {
  withAdminFlags(config.command("diff [before] [after]"))
    .description(
      "say what a reload would do: from what runs to what its file says now, or from one file to another",
    )
    .option("--json", "print the result as JSON", false)
    .addHelpText("after", example("sluice config diff", "sluice config diff old.yaml new.yaml"))
    .action((before: string | undefined, after: string | undefined, flags: DiffFlags) =>
      diff({ before, after }, flags, program, output)
    );
}

function addRoute(root: Command, program: Program, output: Output): void {
  root.command("route <url>")
    .description("say which route a request takes, and why; exit code 1 when none does")
    .option("-c, --config <file>", "config file (default: sluice.yaml)")
    .option("-X, --method <method>", "method", "GET")
    .option("-H, --header <line>", "field, as name: value; may be repeated", collect, [])
    .addHelpText(
      "after",
      example(
        "sluice route http://example.com/v1/users -c sluice.yaml",
        'sluice route /v1/users -X POST -H "x-beta: 1"',
      ),
    )
    .action(async (url: string, flags: { config?: string; method: string; header: string[] }) => {
      const config = await load(configFile(flags.config), program);
      explainRoute(config, { url, method: flags.method, headers: flags.header }, output);
    });
}

function addPlugin(root: Command, program: Program, output: Output): void {
  const plugin = root.command("plugin")
    .description("make, list and restart plugins")
    .helpCommand(false)
    .addHelpText("after", example("sluice plugin new add-header"));
  plugin.command("new <name>")
    .description("write a plugin and its test")
    .option("--plugins <folder>", "folder of plugins", "plugins")
    .addHelpText("after", example("sluice plugin new add-header", "deno test -A tests/plugins"))
    .action((name: string, flags: { plugins: string }) => {
      const files = newPlugin(flags.plugins, name);
      output.out(`wrote ${files.plugin}\nwrote ${files.test}\n`);
    });
  addPluginRestart(plugin, output);
  plugin.command("list")
    .description("list the plugins of a folder, their phases and what they ask for")
    .option("--plugins <folder>", "folder of plugins", "plugins")
    .option("--json", "print the result as JSON", false)
    .addHelpText("after", example("sluice plugin list --plugins ./plugins"))
    .action((flags: { plugins: string; json: boolean }) =>
      listPlugins(flags.plugins, flags.json, program, output)
    );
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,2}$/.test(text) || Number(text) > 256) {
    throw new InvalidArgumentError("Give a whole number from 1 to 256.");
  }
  return Number(text);
}

function collect(line: string, lines: readonly string[]): string[] {
  return [...lines, line];
}
