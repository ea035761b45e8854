/**
 * Metrics of a running program, as numbers by series.
 *
 * @module
 */
import { DEADLINE } from "./deadline.ts";
import { text } from "./http_text.ts";
import { get, rawRequest, type Target } from "./raw_client.ts";

/** Values by series, as `name{label="value"}`. */
export type Metrics = ReadonlyMap<string, number>;

/** Reads the format of Prometheus. */
export function parseMetrics(written: string): Metrics {
  const found = new Map<string, number>();
  for (const line of written.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const space = line.lastIndexOf(" ");
    found.set(line.slice(0, space), Number(line.slice(space + 1)));
  }
  return found;
}

/** Asks for the metrics of a program. */
export async function scrape(to: Target, path: string = "/metrics"): Promise<Metrics> {
  const answer = await rawRequest(to, get(path));
  if (answer.status !== 200) throw new Error(`${path} answers ${answer.status}: ${text(answer)}`);
  return parseMetrics(text(answer));
}

/** What has changed: each series with its difference. New ones count from 0. */
export function changes(before: Metrics, after: Metrics): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [series, value] of after) {
    const difference = value - (before.get(series) ?? 0);
    if (difference !== 0) found[series] = difference;
  }
  return found;
}

/** Waits until `done` holds for the metrics of a program, and returns them. */
export async function metricsUntil(
  to: Target,
  done: (metrics: Metrics) => boolean,
  what: string,
  ms: number = DEADLINE,
): Promise<Metrics> {
  const end = Date.now() + ms;
  for (;;) {
    const metrics = await scrape(to);
    if (done(metrics)) return metrics;
    if (Date.now() > end) {
      const all = [...metrics].map(([series, value]) => `${series} ${value}`).join("\n");
      throw new Error(`Waited ${ms} ms for ${what}, got:\n${all}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
