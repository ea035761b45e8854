/** No verb that reads a config shows what is secret in it, not even beside a mistake. */
import assert from "node:assert/strict";
import { formatErrors } from "../../src/config/errors.ts";
import { loadConfig } from "../../src/config/load.ts";
import { pluginErrors } from "../../src/server/plugin_problems.ts";
import { testWith } from "../support/require.ts";
import {
  MARK,
  NOWHERE,
  SECRET_ENV,
  SECRET_FILES,
  secretConfig,
  tellingLines,
} from "../support/secret_config.ts";
import { cli, pretendProgram, withConfig } from "./support.ts";

const findPlugins = (directory: string) =>
  ["geo", "other"].map((name) => {
    const file = `${directory}/${name}.ts`;
    return { name, file, root: file };
  });

function read(text: string) {
  return loadConfig("/etc/sluice/sluice.yaml", SECRET_ENV, {
    findPlugins,
    readFile: (path) => {
      if (path.endsWith(".yaml")) return text;
      return SECRET_FILES[path.replace("/etc/sluice/", "")] ?? "";
    },
  });
}

testWith(["openssl"], "check, dump, diff and route show no secret, and all the rest", async () => {
  for (const [name, value] of Object.entries(SECRET_ENV)) Deno.env.set(name, value);
  await withConfig(secretConfig(NOWHERE), async (file, folder) => {
    for (const [name, text] of Object.entries(SECRET_FILES)) {
      await Deno.writeTextFile(`${folder}/${name}`, text);
    }
    const program = pretendProgram({ findPlugins });
    for (
      const args of [
        ["check"],
        ["check", "--json"],
        ["config", "dump"],
        ["route", "/known"],
        ["route", "/other", "-H", "x-plain: 1"],
      ]
    ) {
      const { code, out, err } = await cli([...args, "-c", file], program);
      assert.equal(code, 0, err);
      assert.deepEqual(tellingLines(out + err), [], args.join(" "));
      assert.match(out, /127\.0\.0\.1/);
    }
    const dump = JSON.parse((await cli(["config", "dump", "-c", file], program)).out);
    assert.deepEqual(dump.services[0].routes[0].match.header, {
      "x-origin-secret": "(secret)",
      "x-shared": "(secret)",
    });
    assert.deepEqual(dump.services[0].routes[1].rules[0].request, {
      Authorization: "(secret)",
      "X-Api-Key": "(secret)",
      "x-shared": "(secret)",
      "x-plain": "shown",
    });
    assert.equal(dump.upstreams[0].health.active.check.path, "/health?(left out)");
    const other = `${folder}/other.yaml`;
    const changed = secretConfig(NOWHERE).replaceAll(`${MARK}-`, `${MARK}-2-`);
    await Deno.writeTextFile(other, changed);
    for (const args of [["diff", file, other], ["diff", "--json", file, other]]) {
      const { code, out, err } = await cli(["config", ...args], program);
      assert.equal(code, 0, err);
      assert.deepEqual(tellingLines(out + err), []);
    }
  });
});

/** Ways to spoil a line that has a secret in it. */
const SPOILT: Readonly<Record<string, (line: string) => string>> = {
  "another kind of value": (line) =>
    line.replace(/: ("?[A-Za-z ]*hidden-marker[^,}\s]*)/g, ": [$1]"),
  "a brace too many": (line) => `${line} }`,
  "a brace too few": (line) => line.replace(/\}$/, ""),
  "another key": (line) => line.replace(/([\w-]+): ("?[A-Za-z ]*hidden-marker)/, "zz_$1: $2"),
  "a key too many": (line) => line.replace("{ ", "{ zzz: 1, "),
  "a key twice": (line) => line.replace(/\{ ([\w-]+): /, "{ $1: 1, $1: "),
  "a tab": (line) => `\t${line}`,
  "no indent": (line) => line.trimStart(),
};

testWith(["openssl"], "a mistake beside a secret is shown with stars in its place", async () => {
  const lines = secretConfig(NOWHERE).split("\n");
  let shown = 0;
  for (const [what, spoil] of Object.entries(SPOILT)) {
    for (const [i, line] of lines.entries()) {
      if (!line.includes(MARK) && !/\$\{| key: \|$|^ {12}[A-Za-z0-9+/=]{20,}$/.test(line)) continue;
      const spoilt = lines.with(i, spoil(line));
      const { errors } = await read(spoilt.join("\n"));
      if (errors === undefined) continue;
      shown++;
      const text = formatErrors(errors);
      assert.deepEqual(tellingLines(text), [], `${what}: ${line}`);
      // The caret stands where it stood. Where YAML is broken, its reader does not count all lines.
      if (text.includes("YAML")) continue;
      for (const { source, line: number } of errors) {
        assert.equal(source.length, spoilt[number - 1]?.length ?? 0);
      }
    }
  }
  assert.ok(shown > 60, `${shown} mistakes were shown`);
  const { errors } = await read(lines.join("\n").replace("sticky: {", "stickie: {"));
  assert.match(formatErrors(errors!), /\{ stickie: \{ cookie: r, secret: \*{10,} \} \}/);
});

testWith(["openssl"], "a short secret is not quoted when it is refused", async () => {
  const text = secretConfig(NOWHERE).replace(`${MARK}-sticky-0123456789`, "abcd");
  const shown = formatErrors((await read(text)).errors!);
  assert.match(shown, /secret: \*{4} \}.*\n.*\^{4}/);
  assert.equal(shown.includes("abcd"), false, shown);
});

testWith(["openssl"], "what a plugin says of its config is shown without secrets", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/sluice.yaml`;
    const text = secretConfig(NOWHERE);
    await Deno.writeTextFile(file, text);
    const { config } = await read(text);
    const line = text.split("\n").findIndex((one) => one.includes("use: geo")) + 1;
    const message = `unknown password "${SECRET_ENV["PLUGIN_PASSWORD"]}"`;
    const shown = formatErrors(pluginErrors([{ message, file, line, column: 5 }], config!));
    assert.deepEqual(tellingLines(shown), []);
    assert.match(shown, /error: unknown password "\(hidden\)"/);
    assert.match(shown, /use: geo, with: \{ password: "\$\{PLUGIN_PASSWORD\}", list: \[\*{10,}\]/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
