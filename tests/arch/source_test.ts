/** What must hold for each source file by itself. */
import assert from "node:assert/strict";
import { PHASE_NAMES } from "../../src/plugin/phases.ts";
import { ROOT, sourceFiles } from "./source_files.ts";

const MOST_LINES = 600;

/** Folders and files that may use `Deno.`; everything else can be tested without permissions. */
const EDGES = [
  "src/transport/",
  "src/observe/",
  "src/sandbox/",
  "src/balancer/discovery/",
  "src/config/load.ts",
  "src/service/",
  "src/server/",
  "src/cli/",
];

/** The source without comments and strings, where words mean nothing. */
function codeOf(source: string): string {
  return source
    .replaceAll(/\/\*[\s\S]*?\*\//g, "")
    .replaceAll(/^\s*\/\/.*$/gm, "")
    .replaceAll(/"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g, '""');
}

async function eachSource(look: (file: string, source: string) => void): Promise<void> {
  for (const file of await sourceFiles("src")) look(file, await Deno.readTextFile(ROOT + file));
}

Deno.test(`no file has more than ${MOST_LINES} lines`, async () => {
  const long: string[] = [];
  for (const directory of ["src", "plugins", "examples"]) {
    for (const file of await sourceFiles(directory)) {
      const lines = (await Deno.readTextFile(ROOT + file)).split("\n").length - 1;
      if (lines > MOST_LINES) long.push(`${file}: ${lines}`);
    }
  }
  assert.deepEqual(long, []);
});

Deno.test("only the edges touch the operating system", async () => {
  const wrong: string[] = [];
  await eachSource((file, source) => {
    if (EDGES.some((edge) => file.startsWith(edge))) return;
    if (/\bDeno\./.test(codeOf(source))) wrong.push(file);
  });
  assert.deepEqual(wrong, []);
});

Deno.test("files are named in snake_case and begin by saying what they are for", async () => {
  const wrong: string[] = [];
  await eachSource((file, source) => {
    if (!/^[a-z0-9_]+\.ts$/.test(file.slice(file.lastIndexOf("/") + 1))) wrong.push(file);
    if (!/^(?:\/\/ deno-lint[^\n]*\n)?\/\*\*/.test(source)) {
      const first = source.split("\n").find((line) => !line.startsWith("import ") && line !== "");
      if (first === undefined || !first.startsWith("/**")) wrong.push(`${file}: no comment`);
    }
  });
  assert.deepEqual(wrong, []);
});

Deno.test("nothing is left to be done later", async () => {
  const wrong: string[] = [];
  const words = new RegExp(
    ["TO" + "DO", "FIX" + "ME", "XX" + "X"].map((w) => `\\b${w}\\b`).join("|"),
  );
  for (const directory of ["src", "tests", "plugins", "examples"]) {
    for (const file of await sourceFiles(directory)) {
      if (words.test(await Deno.readTextFile(ROOT + file))) wrong.push(file);
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("every import of a file says its extension", async () => {
  const wrong: string[] = [];
  await eachSource((file, source) => {
    for (const [, specifier] of source.matchAll(/from "(\.[^"]*)"/g)) {
      if (!/\.(ts|json)$/.test(specifier!)) wrong.push(`${file}: ${specifier}`);
    }
  });
  assert.deepEqual(wrong, []);
});

Deno.test("every phase of the table is in the manual", async () => {
  const manual = await Deno.readTextFile(`${ROOT}docs/phases.md`);
  const missing = PHASE_NAMES.filter((name) => !manual.includes(`\`${name}\``));
  assert.deepEqual(missing, []);
});

Deno.test("tests that measure the whole process run by themselves", async () => {
  const measures = new RegExp(
    ["import\\b[^;]*\\bopenSockets\\b", "Deno\\.memory" + "Usage\\(", "/proc/" + "self/"].join("|"),
  );
  const wrong: string[] = [];
  for (const file of await sourceFiles("tests")) {
    if (!file.endsWith("_test.ts") || file.endsWith("_alone_test.ts")) continue;
    if (measures.test(await Deno.readTextFile(ROOT + file))) wrong.push(file);
  }
  assert.deepEqual(wrong, []);
});
