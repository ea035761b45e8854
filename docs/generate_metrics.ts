/**
 * Writes `metrics.md` from the table of metrics.
 *
 * ```sh
 * deno run -A docs/generate_metrics.ts
 * ```
 *
 * @module
 */
import { FAMILIES, type FamilyName, familyRow } from "../src/observe/metrics/families.ts";
import { formattedPage } from "./format_page.ts";

const INTRODUCTION = `# Metrics

<!-- Made from the table in src/observe/metrics/families.ts by docs/generate_metrics.ts. -->

Every metric, in the order in which they are told. How to turn them on, and how to have Prometheus
ask for them, is in [operations.md](operations.md).

Where OpenTelemetry has a name for something, it is used, in the spelling of Prometheus. The values
of labels are names from the config and words of the program, never anything that a client sends: a
method that is not known is \`_OTHER\`, a status that is not registered \`5xx\` and the like, and a
request without a route has an empty \`http_route\`. What plugins name as a peer has an empty
\`upstream\`. Of an upstream with more than 256 endpoints, those beyond share one row called
\`other\`.

The numbers of service workers are added up once a second, so a request shows within about a second.
A service worker that is replaced takes its gauges with it and leaves its counters behind.
`;

/** The page before it is formatted. */
export function metricsPage(): string {
  const rows = (Object.keys(FAMILIES) as FamilyName[]).map((name) => {
    const { type, labels, help } = familyRow(name);
    const shown = labels.length === 0 ? "" : labels.map((label) => `\`${label}\``).join(", ");
    return `| \`${name}\` | ${type} | ${shown} | ${help} |`;
  });
  const buckets = (name: FamilyName) => familyRow(name).buckets!.join(", ");
  return `${INTRODUCTION}
| Metric | Type | Labels | Meaning |
| --- | --- | --- | --- |
${rows.join("\n")}

Buckets, in seconds: of requests ${buckets("http_server_request_duration_seconds")}; of hooks ${
    buckets("sluice_plugin_hook_duration_seconds")
  }.
`;
}

/** The page as it stands in `metrics.md`. */
export function formattedMetricsPage(): Promise<string> {
  return formattedPage(metricsPage());
}

if (import.meta.main) {
  await Deno.writeTextFile(new URL("metrics.md", import.meta.url), await formattedMetricsPage());
}
