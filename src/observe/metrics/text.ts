/**
 * Metrics as text: in the format of Prometheus (version 0.0.4) and in that of OpenMetrics 1.0.0.
 *
 * @module
 */
import { FAMILIES, type FamilyName, familyRow } from "./families.ts";
import type { Series, Snapshot } from "./totals.ts";

/** What {@linkcode metricsText} can write. */
export type MetricsFormat = "prometheus" | "openmetrics";

/** What to say of the text as its Content-Type. */
export const METRICS_CONTENT_TYPE: Readonly<Record<MetricsFormat, string>> = {
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/** The format that a client asks for by Accept; whoever does not say gets that of Prometheus. */
export function metricsFormat(accept: string | null): MetricsFormat {
  return /\bapplication\/openmetrics-text\b/i.test(accept ?? "") ? "openmetrics" : "prometheus";
}

/** Writes all metrics that have a value, in the order of their table. */
export function metricsText(snapshot: Snapshot, format: MetricsFormat): string {
  let text = "";
  for (const name of Object.keys(FAMILIES) as FamilyName[]) {
    const series = snapshot.get(name);
    if (series === undefined || series.length === 0) continue;
    const { type, help } = familyRow(name);
    // OpenMetrics names a counter without the ending of its samples.
    const family = format === "openmetrics" && type === "counter"
      ? name.replace(/_total$/, "")
      : name;
    text += `# HELP ${family} ${escapeHelp(help)}\n# TYPE ${family} ${type}\n`;
    const lines = series.map((one) => seriesText(name, one, format));
    text += lines.sort().join("");
  }
  return format === "openmetrics" ? `${text}# EOF\n` : text;
}

function seriesText(name: FamilyName, { labels, values }: Series, format: MetricsFormat): string {
  const { labels: names, buckets, type } = familyRow(name);
  const pairs = names.map((label, i) => `${label}="${escapeLabel(labels[i] ?? "")}"`);
  if (type !== "histogram") return `${name}${braces(pairs)} ${numberText(values[0]!)}\n`;
  let text = "";
  let count = 0;
  for (const [i, bound] of [...buckets!, Infinity].entries()) {
    count += values[1 + i]!;
    const le = `le="${boundText(bound, format)}"`;
    text += `${name}_bucket${braces([...pairs, le])} ${numberText(count)}\n`;
  }
  return text + `${name}_sum${braces(pairs)} ${numberText(values[0]!)}\n` +
    `${name}_count${braces(pairs)} ${numberText(count)}\n`;
}

function braces(pairs: readonly string[]): string {
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function numberText(value: number): string {
  return value === Infinity ? "+Inf" : value === -Infinity ? "-Inf" : String(value);
}

/** OpenMetrics wants bounds to look like floating point numbers. */
function boundText(bound: number, format: MetricsFormat): string {
  if (bound === Infinity) return "+Inf";
  return format === "openmetrics" && Number.isInteger(bound) ? `${bound}.0` : String(bound);
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
