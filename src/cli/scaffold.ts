/**
 * `plugin new`: a plugin that works, and a test that shows it.
 *
 * @module
 */
import { dirname, join, relative, resolve } from "node:path";
import { CliExit, EXIT } from "./output.ts";

const NAME = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;

/**
 * Writes `<name>.ts` into a folder, and its test into `tests/plugins` beside that folder. Nothing that exists is
 * overwritten.
 *
 * @returns The files.
 */
export function newPlugin(directory: string, name: string): { plugin: string; test: string } {
  if (!NAME.test(name) || name.length > 64) {
    throw new CliExit(
      EXIT.usage,
      `error: ${
        JSON.stringify(name)
      } is not a plugin name: use lower-case letters, digits and dashes\n`,
    );
  }
  const base = name.replaceAll("-", "_");
  const plugin = join(directory, `${name}.ts`);
  // Not in the folder itself, where every file is a plugin.
  const tests = join(dirname(resolve(directory)), "tests", "plugins");
  const test = join(tests, `${base}_test.ts`);
  Deno.mkdirSync(directory, { recursive: true });
  Deno.mkdirSync(tests, { recursive: true });
  write(plugin, pluginText(name));
  write(test, testText(name, relative(tests, resolve(plugin))));
  return { plugin, test: relative(Deno.cwd(), test) };
}

function write(file: string, text: string): void {
  try {
    Deno.writeTextFileSync(file, text, { createNew: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    throw new CliExit(EXIT.usage, `error: ${file} exists already\n`);
  }
}

function pluginText(name: string): string {
  return `import { definePlugin } from "@sluice/plugin";

export default definePlugin({
  name: "${name}",
  version: "0.1.0",
  match: { path: "/${name}/*" },

  requestFilter(session) {
    if (session.request.method !== "GET") {
      return session.respond(405, { title: "Only GET is allowed here" });
    }
    session.upstreamRequest.headers.set("x-${name}", "seen");
  },
});
`;
}

function testText(name: string, specifier: string): string {
  return `import assert from "node:assert/strict";
import plugin from "${specifier}";

Deno.test("${name} answers 405 to anything but GET", async () => {
  const replies: number[] = [];
  const session = {
    request: { method: "POST" },
    respond: (status: number) => {
      replies.push(status);
      return { kind: "reply", status, headers: [], body: null };
    },
  };
  await plugin.requestFilter!(session as never, {} as never);
  assert.deepEqual(replies, [405]);
});

Deno.test("${name} marks the request to the upstream", async () => {
  const fields = new Map<string, string>();
  const session = { request: { method: "GET" }, upstreamRequest: { headers: fields } };
  await plugin.requestFilter!(session as never, {} as never);
  assert.equal(fields.get("x-${name}"), "seen");
});
`;
}
