import assert from "node:assert/strict";
import { contentDigest } from "../../src/sandbox/content_digest.ts";

Deno.test("a folder has another digest for each change of a name or a content, and the same for none", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const write = (path: string, text: string) => Deno.writeTextFileSync(`${folder}/${path}`, text);
    Deno.mkdirSync(`${folder}/lib`);
    write("mod.ts", "a");
    write("lib/b.ts", "b");
    const seen = new Set([await contentDigest(folder)]);
    assert.ok(seen.has(await contentDigest(folder)));
    const changes: (() => void)[] = [
      () => write("lib/b.ts", "c"),
      () => write("lib/c.ts", ""),
      () => Deno.renameSync(`${folder}/lib/c.ts`, `${folder}/lib/d.ts`),
      () => Deno.removeSync(`${folder}/lib/d.ts`),
      // Bytes that move from one file to the next are a change, too.
      () => {
        write("lib/b.ts", "");
        write("mod.ts", "ac");
      },
    ];
    for (const change of changes) {
      change();
      seen.add(await contentDigest(folder));
    }
    // All but one: without lib/d.ts it is as it was after the first change.
    assert.equal(seen.size, changes.length);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("what cannot be read is never the same", async () => {
  const path = "/nowhere/plugin.ts";
  assert.notEqual(await contentDigest(path), await contentDigest(path));
});
