/** Endpoints from a file, on a real file system. */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { createFile, FILE, type FileConfig } from "../../../src/balancer/discovery/file.ts";
import { eventually } from "../../support/deadline.ts";
import { settle } from "../../support/recorder.ts";
import { Answers, Listener, TestTools } from "./listener.ts";

class Folder implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "sluice-discovery-" });

  file(name: string): string {
    return `${this.path}/${name}`;
  }

  write(name: string, text: string | Uint8Array): void {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    Deno.writeFileSync(this.file(name), bytes);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

function config(path: string, settings: Partial<FileConfig> = {}): FileConfig {
  return { ...FILE, path, interval: 600_000, backoff: 600_000, maxBackoff: 600_000, ...settings };
}

Deno.test("YAML and JSON are read, and a change is seen without being asked for", async () => {
  using folder = new Folder();
  using tools = new TestTools();
  folder.write("a.yaml", "endpoints:\n  - 10.0.0.1:80\n  - { address: 10.0.0.2:80, weight: 3 }\n");
  folder.write("b.json", '["10.0.0.9:80"]');
  const yaml = new Listener();
  const json = new Listener();
  const sources = [
    createFile(config(folder.file("a.yaml")), tools),
    createFile(config(folder.file("b.json")), tools),
  ];
  sources[0]!.start(yaml);
  sources[1]!.start(json);
  equal(await yaml.nth(1), "update 10.0.0.1:80 10.0.0.2:80*3");
  equal(await json.nth(1), "update 10.0.0.9:80");
  folder.write("a.yaml", "- 10.0.0.3:80\n");
  equal(await yaml.nth(2), "update 10.0.0.3:80");
  // The way editors and deployments do it: a new file in the place of the old one.
  folder.write("b.tmp", '{ "endpoints": ["10.0.0.8:80"] }');
  Deno.renameSync(folder.file("b.tmp"), folder.file("b.json"));
  equal(await json.nth(2), "update 10.0.0.8:80");
  equal(yaml.told.length, 2);
  for (const source of sources) source.stop();
});

Deno.test("several changes of one save are one reading", async () => {
  using folder = new Folder();
  using tools = new TestTools();
  folder.write("a.yaml", "- 10.0.0.1:80\n");
  const listener = new Listener();
  let readings = 0;
  const source = createFile(config(folder.file("a.yaml")), tools);
  tools.onDate = () => readings++;
  source.start(listener);
  await listener.nth(1);
  for (let i = 2; i < 12; i++) {
    folder.write("a.yaml", `- 10.0.0.${i}:80\n`);
    await settle(5);
  }
  await eventually(() => listener.told.at(-1) === "update 10.0.0.11:80", "the last content");
  deepEqual(listener.told, ["update 10.0.0.1:80", "update 10.0.0.11:80"]);
  equal(readings, 2);
  source.stop();
});

Deno.test("a file behind a link that is swapped, as Kubernetes does it, is followed", async () => {
  using folder = new Folder();
  using tools = new TestTools();
  for (const [name, address] of [["one", "10.0.0.1:80"], ["two", "10.0.0.2:80"]]) {
    Deno.mkdirSync(folder.file(`..${name}`));
    folder.write(`..${name}/a.yaml`, `- ${address}\n`);
  }
  Deno.symlinkSync("..one", folder.file("..data"));
  Deno.symlinkSync("..data/a.yaml", folder.file("a.yaml"));
  const listener = new Listener();
  const source = createFile(config(folder.file("a.yaml")), tools);
  source.start(listener);
  equal(await listener.nth(1), "update 10.0.0.1:80");
  Deno.symlinkSync("..two", folder.file("..data_tmp"));
  Deno.renameSync(folder.file("..data_tmp"), folder.file("..data"));
  equal(await listener.nth(2), "update 10.0.0.2:80");
  source.stop();
});

Deno.test("where the folder is not watched, the file is read at regular times", async () => {
  using folder = new Folder();
  using tools = new TestTools();
  folder.write("a.yaml", "- 10.0.0.1:80\n");
  const listener = new Listener();
  const source = createFile(config(folder.file("a.yaml"), { watch: false, interval: 20 }), tools);
  source.start(listener);
  await listener.nth(1);
  folder.write("a.yaml", "- 10.0.0.2:80\n");
  equal(await listener.nth(2), "update 10.0.0.2:80");
  source.stop();
});

Deno.test("a file that is not there yet is read when it comes, also in a folder that comes with it", async () => {
  using folder = new Folder();
  using tools = new TestTools();
  const listener = new Listener();
  const path = folder.file("later/a.yaml");
  const source = createFile(config(path, { backoff: 20, maxBackoff: 20, interval: 50 }), tools);
  source.start(listener);
  equal(await listener.nth(1), "error config_error");
  ok(listener.error!.message.includes(path), listener.error!.message);
  Deno.mkdirSync(folder.file("later"));
  folder.write("later/a.yaml", "- 10.0.0.1:80\n");
  await eventually(() => listener.told.includes("update 10.0.0.1:80"), listener.told.join());
  deepEqual(listener.told.slice(0, 2), ["error config_error", "recovered"]);
  source.stop();
});

Deno.test("what cannot be read or makes no sense keeps the last good set, and says why", async () => {
  using folder = new Folder();
  using tools = new TestTools();
  const cases: [string | Uint8Array, RegExp][] = [
    ["- 10.0.0.1:80\n- 10.0.0.2\n", /entry 2: "10\.0\.0\.2": a port is missing/],
    ["- {", /line 1/],
    ["a: 1\na: 2\n", /Map keys must be unique/],
    ["", /expected a list/],
    ["- a:1\n---\n- b:1\n", /more than one document/],
    ["- &a x\n- *b\n", /b/],
    [new Uint8Array([0x2d, 0x20, 0xff]), /not UTF-8/],
    [`# ${"x".repeat(1024 * 1024)}`, /more than 1048576 bytes/],
    ["[]", /there is no endpoint/],
  ];
  folder.write("a.yaml", "- 10.0.0.1:80\n");
  const listener = new Listener();
  const source = createFile(config(folder.file("a.yaml"), { watch: false }), tools);
  const answers = new Answers(source, tools);
  source.start(listener);
  await listener.nth(1);
  for (const [index, [text, message]] of cases.entries()) {
    folder.write("a.yaml", text);
    source.refresh();
    await answers.failures(index + 1);
    const { error, endpoints } = source.state();
    ok(message.test(error!), `${error} is not ${message}`);
    equal(endpoints, 1);
  }
  Deno.removeSync(folder.file("a.yaml"));
  Deno.mkdirSync(folder.file("a.yaml"));
  source.refresh();
  await answers.failures(cases.length + 1);
  ok(/it is not a file/.test(source.state().error!));
  equal(listener.told.length, 2);
  source.stop();
});

Deno.test("an alias that multiplies is refused", async () => {
  using folder = new Folder();
  using tools = new TestTools();
  let text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (let i = 1; i < 9; i++) text += `a${i}: &a${i} [${`*a${i - 1}, `.repeat(10)}]\n`;
  folder.write("a.yaml", text);
  const listener = new Listener();
  const source = createFile(config(folder.file("a.yaml")), tools);
  source.start(listener);
  equal(await listener.nth(1), "error config_error");
  ok(/alias/i.test(listener.error!.message), listener.error!.message);
  source.stop();
});

Deno.test("an empty list is taken where it is allowed; a relative path is refused", async () => {
  using folder = new Folder();
  using tools = new TestTools();
  folder.write("a.yaml", "[]\n");
  const listener = new Listener();
  const source = createFile(config(folder.file("a.yaml"), { allowEmpty: true }), tools);
  source.start(listener);
  equal(await listener.nth(1), "update ");
  source.stop();
  throws(() => createFile(config("a.yaml"), tools), /must be absolute/);
});
