import assert from "node:assert/strict";
import { formattedMetricsPage } from "../../docs/generate_metrics.ts";

Deno.test("docs/metrics.md says what the table of metrics says", async () => {
  const page = await Deno.readTextFile(new URL("../../docs/metrics.md", import.meta.url));
  assert.equal(
    page,
    await formattedMetricsPage(),
    "docs/metrics.md is stale: run deno run -A docs/generate_metrics.ts",
  );
});
