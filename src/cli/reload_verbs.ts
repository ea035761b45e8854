/**
 * `reload`, `upgrade` and `config diff`.
 *
 * @module
 */
import type { PlannedChange } from "../server/reload_plan.ts";
import { AdminClient, type AdminFlags } from "./admin_client.ts";
import { load } from "./load.ts";
import { CliExit, count, EXIT, type Output, table } from "./output.ts";
import type { Program } from "./program.ts";

/** `reload`: fails with the reason if the config is refused. With `--no-wait` it returns when the program has been told. */
export async function reload(
  flags: AdminFlags & { readonly wait: boolean },
  output: Output,
): Promise<void> {
  const path = flags.wait ? "/reload" : "/reload?wait=false";
  const { message } = await AdminClient.find(flags).json<{ message: string }>("POST", path);
  output.out(`${message}\n`);
}

/** `upgrade`. */
export async function upgrade(flags: AdminFlags, output: Output): Promise<void> {
  const { message } = await AdminClient.find(flags).json<{ message: string }>("POST", "/upgrade");
  output.out(`${message}\n`);
}

/** Flags of `config diff`. */
export interface DiffFlags extends AdminFlags {
  readonly json: boolean;
}

/** `config diff`: of two files, or of what runs and what its file says now. */
export async function diff(
  files: { readonly before?: string | undefined; readonly after?: string | undefined },
  flags: DiffFlags,
  program: Program,
  output: Output,
): Promise<void> {
  const { before, after } = files;
  let changes: readonly PlannedChange[];
  if (before === undefined) {
    ({ changes } = await AdminClient.find(flags).json<{ changes: PlannedChange[] }>(
      "GET",
      "/config/changes",
    ));
  } else {
    if (after === undefined) {
      throw new CliExit(EXIT.usage, "error: name two files, or none for what runs and its file\n");
    }
    changes = await program.planReload(await load(before, program), await load(after, program));
  }
  output.out(flags.json ? `${JSON.stringify({ changes }, null, 2)}\n` : changesText(changes));
}

function changesText(changes: readonly PlannedChange[]): string {
  if (changes.length === 0) return "nothing would change\n";
  const rows = changes.map(({ kind, name, action, why }) => [action, `${kind} ${name}`, why]);
  return `${table(rows)}${count(changes.length, "change")}\n`;
}
