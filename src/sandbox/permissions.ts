/**
 * What a plugin asks for, what the operator grants, and what comes of it.
 *
 * @module
 */
import { PluginLoadError } from "./load_error.ts";
import type { PluginManifest, PluginSpec } from "./spec.ts";

/** The kinds of rights that a plugin can have. `run`, `ffi` and `import` are never granted. */
const KINDS = ["net", "read", "write", "env", "sys"] as const;
type Kind = typeof KINDS[number];

/** The rights that a plugin runs with. Paths are absolute. */
export type Rights = { readonly [K in Kind]: readonly string[] | true };

const NOTHING: Rights = { net: [], read: [], write: [], env: [], sys: [] };

/** The folder that relative paths of a plugin begin at. */
export function pluginDirectory(spec: PluginSpec): string {
  return spec.root === spec.file
    ? spec.file.slice(0, spec.file.lastIndexOf("/")) || "/"
    : spec.root;
}

/**
 * Settles the rights of a plugin: what it asks for, as long as all of it is granted.
 *
 * What is granted beyond that is not given.
 *
 * @throws {PluginLoadError} If it asks for more than is granted; says what to add to the configuration.
 */
export function settleRights(manifest: PluginManifest, spec: PluginSpec): Rights {
  const directory = pluginDirectory(spec);
  const missing: { [K in Kind]?: readonly string[] | true } = {};
  const rights: { -readonly [K in Kind]: Rights[K] } = { ...NOTHING };
  for (const kind of KINDS) {
    const asked = resolve(kind, manifest.permissions[kind], directory);
    rights[kind] = asked;
    if (spec.grant === "as-requested") continue;
    const granted = resolve(kind, spec.grant[kind], directory);
    if (granted === true) continue;
    if (asked === true) {
      missing[kind] = true;
      continue;
    }
    const original = manifest.permissions[kind];
    const lacking = asked.filter((one) => !granted.some((given) => covers(kind, given, one)))
      .map((one) => Array.isArray(original) ? original[asked.indexOf(one)] as string : one);
    if (lacking.length > 0) missing[kind] = lacking;
  }
  if (Object.keys(missing).length > 0) throw refusal(spec, missing);
  return rights;
}

function resolve(
  kind: Kind,
  asked: readonly string[] | boolean | undefined,
  directory: string,
): readonly string[] | true {
  if (asked === true) return true;
  if (asked === undefined || asked === false) return [];
  return kind === "read" || kind === "write"
    ? asked.map((path) => absolute(path, directory))
    : asked;
}

/** A path without `.` and `..`, beginning at `directory` if it is relative. */
function absolute(path: string, directory: string): string {
  const parts: string[] = [];
  for (const part of (path.startsWith("/") ? path : `${directory}/${path}`).split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

function covers(kind: Kind, given: string, asked: string): boolean {
  if (given === asked) return true;
  if (kind === "read" || kind === "write") {
    return asked.startsWith(given === "/" ? "/" : `${given}/`);
  }
  if (kind !== "net") return false;
  const [givenHost, givenPort] = splitHost(given);
  const [askedHost, askedPort] = splitHost(asked);
  // A right without port is for all ports.
  if (givenPort !== "" && givenPort !== askedPort) return false;
  if (givenHost === askedHost) return true;
  return givenHost.startsWith("*.") &&
    (askedHost.endsWith(givenHost.slice(1)) || askedHost === givenHost.slice(2));
}

function splitHost(text: string): [string, string] {
  const match = /^(.*?)(?::(\d+))?$/.exec(text)!;
  // The colons of an IPv6 address without brackets are no ports.
  if (match[1]!.includes(":") && !match[1]!.startsWith("[")) return [text.toLowerCase(), ""];
  return [match[1]!.toLowerCase(), match[2] ?? ""];
}

function refusal(
  spec: PluginSpec,
  missing: { [K in Kind]?: readonly string[] | true },
): PluginLoadError {
  const what = Object.entries(missing).map(([kind, values]) =>
    `${kind} (${values === true ? "any" : values.join(", ")})`
  ).join(" and ");
  const lines = ["plugins:", "  grant:", `    ${spec.name}:`];
  for (const [kind, values] of Object.entries(missing)) {
    lines.push(
      `      ${kind}: ${
        values === true ? "true" : `[${values.map((one) => JSON.stringify(one)).join(", ")}]`
      }`,
    );
  }
  return new PluginLoadError(
    `plugin "${spec.name}" asks for rights that it was not granted: ${what}`,
    {
      file: spec.file,
      remedy: `To grant them, add:\n${lines.join("\n")}`,
    },
  );
}

/**
 * The rights of the Web Worker that a plugin lives in. All eight kinds are named: what is not is inherited.
 *
 * @param own Folders of Sluice that are read until the plugin is loaded.
 */
export function workerPermissions(
  rights: Rights,
  root: string,
  own: readonly string[],
): Deno.PermissionOptionsObject {
  return {
    net: given(rights.net),
    read: rights.read === true ? true : [root, ...rights.read, ...own],
    write: given(rights.write),
    env: given(rights.env),
    sys: given(rights.sys) as Deno.PermissionOptionsObject["sys"] & boolean,
    run: false,
    ffi: false,
    import: false,
  };
}

function given(values: readonly string[] | true): boolean | string[] {
  return values === true ? true : values.length === 0 ? false : [...values];
}

/** The flags of the process that a plugin lives in. */
export function processFlags(rights: Rights, root: string, socket: string): string[] {
  const flags = ["--no-prompt", "--no-remote", "--deny-run", "--deny-ffi", "--deny-import"];
  const add = (kind: Kind, values: readonly string[] | true, always: readonly string[]) => {
    if (values === true) flags.push(`--allow-${kind}`);
    else if (values.length + always.length > 0) {
      // A comma within a value is written twice.
      const list = [...always, ...values].map((one) => one.replaceAll(",", ",,"));
      flags.push(`--allow-${kind}=${list.join(",")}`);
    }
  };
  add("net", rights.net, [`unix:${socket}`]);
  add("read", rights.read, [root, socket]);
  add("write", rights.write, [socket]);
  add("env", rights.env, []);
  add("sys", rights.sys, []);
  return flags;
}

/** The rights of a sandbox that only looks at a plugin. */
export const NO_RIGHTS: Rights = NOTHING;

/** Those of Sluice's own folders that a plugin's thread reads and then gives back. */
export function ownFolders(rights: Rights, root: string): string[] {
  const source = decodeURIComponent(new URL("..", import.meta.url).pathname).replace(/\/$/, "");
  return ["base", "http", "plugin", "sandbox", "transport"].map((name) => `${source}/${name}`)
    .filter(
      // To give back a folder would take away a wider right of the plugin's own.
      (folder) =>
        rights.read !== true &&
        ![root, ...rights.read].some((path) =>
          folder === path || folder.startsWith(`${path}/`) || path.startsWith(`${folder}/`)
        ),
    );
}

/** Whether two sets of rights are the same. */
export function sameRights(a: Rights, b: Rights): boolean {
  return KINDS.every((kind) => JSON.stringify(a[kind]) === JSON.stringify(b[kind]));
}
