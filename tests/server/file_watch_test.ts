import assert from "node:assert/strict";
import type { Config } from "../../src/config/types.ts";
import { FileWatch } from "../../src/server/file_watch.ts";
import { eventually } from "../support/deadline.ts";

/** As much of a config as says what is watched. */
function config(watch: boolean, pluginDirectory: string | null): Config {
  return { server: { watch }, pluginDirectory } as Config;
}

/** A folder with a config file and plugins, watched until the end. */
function watched() {
  const folder = Deno.makeTempDirSync();
  const [file, plugins] = [`${folder}/sluice.yaml`, `${folder}/plugins`];
  Deno.mkdirSync(plugins);
  Deno.writeTextFileSync(file, "");
  let changes = 0;
  const watch = new FileWatch(file, () => changes++);
  return {
    file,
    plugins,
    watch,
    changes: () => changes,
    [Symbol.dispose]: () => {
      watch.close();
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

Deno.test("a file that changes while a reload comes to its end is not missed", async () => {
  using at = watched();
  const both = config(true, at.plugins);
  at.watch.follow(both);
  Deno.writeTextFileSync(at.file, "one");
  await eventually(() => at.changes() === 1, "the first change");
  // This one comes after the files were read for the first, and right before its config serves.
  Deno.writeTextFileSync(`${at.plugins}/a.ts`, "two");
  at.watch.follow(both);
  await eventually(() => at.changes() === 2, "the change beside the reload");
  Deno.writeTextFileSync(at.file, "three");
  at.watch.follow(config(true, null));
  await eventually(() => at.changes() === 3, "the change of what is watched on");
});

Deno.test("what a config does not consist of any more is not watched, and nothing if it does not ask for that", async () => {
  using at = watched();
  at.watch.follow(config(true, at.plugins));
  at.watch.follow(config(true, null));
  Deno.writeTextFileSync(`${at.plugins}/a.ts`, "one");
  Deno.writeTextFileSync(at.file, "two");
  await eventually(() => at.changes() === 1, "the file to be noticed");
  at.watch.follow(config(false, null));
  Deno.writeTextFileSync(at.file, "three");
  at.watch.follow(config(true, at.plugins));
  Deno.writeTextFileSync(`${at.plugins}/a.ts`, "four");
  await eventually(() => at.changes() === 2, "the plugin to be noticed");
  assert.equal(at.changes(), 2);
});

Deno.test("a folder that takes the name of another is watched in its place", async () => {
  using at = watched();
  const both = config(true, at.plugins);
  at.watch.follow(both);
  Deno.renameSync(at.plugins, `${at.plugins}.old`);
  Deno.mkdirSync(at.plugins);
  at.watch.follow(both);
  Deno.writeTextFileSync(`${at.plugins}/a.ts`, "one");
  await eventually(() => at.changes() > 0, "the change of the folder");
  await new Promise((resolve) => setTimeout(resolve, 500));
  const before = at.changes();
  Deno.writeTextFileSync(`${at.plugins}/a.ts`, "two");
  await eventually(() => at.changes() > before, "the change in the new folder");
});
