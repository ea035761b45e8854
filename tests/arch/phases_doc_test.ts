import assert from "node:assert/strict";
import { formattedPhasesPage } from "../../docs/generate_phases.ts";

Deno.test("docs/phases.md says what the table of phases says", async () => {
  const page = await Deno.readTextFile(new URL("../../docs/phases.md", import.meta.url));
  assert.equal(
    page,
    await formattedPhasesPage(),
    "docs/phases.md is stale: run deno run -A docs/generate_phases.ts",
  );
});
