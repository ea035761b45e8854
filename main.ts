/**
 * The program: `sluice run`, `sluice check` and so on. See `sluice --help`.
 *
 * @module
 */
import { runCli } from "./src/cli/cli.ts";

export { runCli };

if (import.meta.main) {
  Deno.exit(await runCli(Deno.args));
}
