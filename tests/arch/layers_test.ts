/** The house: who may import whom, no cycles, no giants, and the operating system only at the edges. */
import assert from "node:assert/strict";
import { fromFileUrl, ROOT, sourceFiles } from "./source_files.ts";

/** What a folder may import besides itself; `types` only as types. */
interface Row {
  readonly code: readonly string[];
  readonly types?: readonly string[];
}

/** Every folder of src, from the lowest layer to the highest. */
const ALLOWED: Readonly<Record<string, Row>> = {
  base: { code: [] },
  transport: { code: ["base"] },
  observe: { code: ["base"] },
  http: { code: ["base"], types: ["transport", "plugin"] },
  plugin: { code: ["base"], types: ["http", "transport"] },
  http1: { code: ["base", "transport", "http"] },
  http2: { code: ["base", "transport", "http"] },
  connector: { code: ["base", "observe", "transport", "http", "http1", "http2"] },
  cache: { code: ["base", "observe", "http"] },
  modules: { code: ["base", "observe", "http"] },
  balancer: { code: ["base", "observe", "transport", "http", "http1", "connector"] },
  proxy: {
    code: ["base", "observe", "http", "plugin", "connector", "cache", "modules", "balancer"],
    types: ["transport", "config"],
  },
  sandbox: { code: ["base", "observe", "http", "plugin"], types: ["transport", "config"] },
  config: {
    code: ["base", "transport", "http", "http1", "http2", "plugin", "connector", "balancer"],
    types: ["observe", "cache", "modules", "proxy", "sandbox"],
  },
  service: {
    code: [
      ...["base", "observe", "transport", "http", "http1", "http2", "plugin", "connector"],
      ...["cache", "modules", "balancer", "proxy", "sandbox", "config"],
    ],
  },
  server: {
    code: [
      ...["base", "observe", "transport", "http", "http1", "connector", "balancer", "config"],
      "sandbox",
    ],
    types: ["service", "plugin"],
  },
  cli: {
    code: [
      ...["base", "observe", "transport", "http", "plugin", "sandbox", "proxy", "config"],
      ...["service", "server"],
    ],
  },
  testing: {
    code: [
      ...["base", "observe", "transport", "http", "plugin", "sandbox", "proxy", "config"],
      ...["service", "server"],
    ],
  },
};

/** Pure vocabulary that layers may use although it lives where the I/O is. */
const VOCABULARY = ["src/transport/address.ts"];

interface Module {
  readonly specifier: string;
  readonly dependencies?: readonly {
    readonly code?: { readonly specifier?: string };
    readonly type?: { readonly specifier?: string };
    readonly specifier: string;
  }[];
}

interface Edge {
  readonly from: string;
  readonly to: string;
}

/** Asks deno for every import of the program; of type imports it knows, too. */
async function edges(): Promise<Edge[]> {
  const files = await sourceFiles("src");
  const found = new Map<string, Edge>();
  // Files that nobody imports statically are entries of workers: each is asked for by itself.
  const seen = new Set<string>();
  for (const file of ["main.ts", ...files]) {
    if (seen.has(file)) continue;
    const { stdout, success } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", "--no-lock", file],
      cwd: ROOT,
      stdout: "piped",
      stderr: "null",
    }).output();
    assert.ok(success, `deno info ${file}`);
    const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as { modules: Module[] };
    for (const { specifier, dependencies } of modules) {
      const from = inTree(specifier);
      if (from === null || seen.has(from)) continue;
      seen.add(from);
      for (const { code, type } of dependencies ?? []) {
        const to = inTree((code ?? type)?.specifier ?? "");
        if (to !== null) found.set(`${from} ${to}`, { from, to });
      }
    }
  }
  for (const file of files) assert.ok(seen.has(file), `${file} was not looked at`);
  return [...found.values()];
}

function inTree(specifier: string): string | null {
  if (!specifier.startsWith("file:")) return null;
  const path = fromFileUrl(specifier);
  // The one file of data: name and version of the program.
  if (path === `${ROOT}deno.json`) return null;
  return path.startsWith(ROOT) ? path.slice(ROOT.length) : null;
}

function folder(file: string): string {
  return file.startsWith("src/") ? file.split("/")[1]! : "";
}

/** Whether every import of `to` in `from` is a type import. */
function isTypeOnly(source: string, to: string): boolean {
  const name = to.slice(to.lastIndexOf("/") + 1).replaceAll(".", "\\.");
  const statement = new RegExp(
    `(?:import|export)\\s+((?:type\\s+)?)[^;]*?from\\s+"[^"]*/?${name}"`,
    "g",
  );
  const all = [...source.matchAll(statement)];
  return all.length > 0 &&
    all.every(([text, type]) =>
      type !== "" || /\{[^}]*\}/.exec(text)?.[0].slice(1, -1).split(",")
          .map((one) => one.trim()).filter((one) => one !== "")
          .every((one) => one.startsWith("type ")) === true
    );
}

let known: Promise<Edge[]> | undefined;
const all = () => known ??= edges();

Deno.test("folders import only what stands below them", async () => {
  const wrong: string[] = [];
  for (const { from, to } of await all()) {
    const [a, b] = [folder(from), folder(to)];
    if (a === b || a === "") continue;
    const row = ALLOWED[a];
    if (row === undefined) wrong.push(`${from}: the folder ${a} stands in no layer`);
    else if (row.code.includes(b)) continue;
    else if (VOCABULARY.includes(to) && row.types?.includes(b) === true) continue;
    else if (!(row.types ?? []).includes(b)) wrong.push(`${from} imports ${to}`);
    else if (!isTypeOnly(await Deno.readTextFile(ROOT + from), to)) {
      wrong.push(`${from} imports ${to} for more than its types`);
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("the table of layers has no cycle in itself", () => {
  const state = new Map<string, "open" | "done">();
  const visit = (name: string, path: readonly string[]) => {
    assert.notEqual(state.get(name), "open", [...path, name].join(" -> "));
    if (state.get(name) === "done") return;
    state.set(name, "open");
    for (const next of ALLOWED[name]!.code) visit(next, [...path, name]);
    state.set(name, "done");
  };
  for (const name of Object.keys(ALLOWED)) visit(name, []);
});

Deno.test("the vocabulary that everybody may use imports nothing", async () => {
  for (const { from, to } of await all()) assert.ok(!VOCABULARY.includes(from), `${from}: ${to}`);
});

Deno.test("no file imports itself through others, not even for types", async () => {
  const graph = new Map<string, string[]>();
  for (const { from, to } of await all()) {
    const targets = graph.get(from) ?? [];
    targets.push(to);
    graph.set(from, targets);
  }
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, path: readonly string[]) => {
    const at = path.indexOf(file);
    if (at >= 0) {
      cycles.push([...path.slice(at), file].join(" -> "));
      return;
    }
    if (done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  assert.deepEqual(cycles, []);
});

Deno.test("nothing in src imports a test, an example or a plugin", async () => {
  const wrong = (await all()).filter(({ from, to }) =>
    from.startsWith("src/") && !to.startsWith("src/")
  );
  assert.deepEqual(wrong, []);
});
