import assert from "node:assert/strict";
import { MetricBook, MOST_SERIES } from "../../src/observe/metrics/book.ts";
import { FAMILIES, type FamilyName, familyRow } from "../../src/observe/metrics/families.ts";
import { processCollector } from "../../src/observe/metrics/process.ts";
import { metricsFormat, metricsText } from "../../src/observe/metrics/text.ts";
import { MetricTotals } from "../../src/observe/metrics/totals.ts";

/** The lines of one metric, without comments. */
function linesOf(text: string, name: string): string[] {
  return text.split("\n").filter((line) => line.startsWith(name));
}

/** What a book alone comes to. */
function textOf(book: MetricBook, format: "prometheus" | "openmetrics" = "prometheus"): string {
  const totals = new MetricTotals();
  totals.open().take(book.report());
  return metricsText(totals.snapshot(), format);
}

Deno.test("counters, gauges and histograms come out as Prometheus reads them", () => {
  const book = new MetricBook();
  const bytes = book.place("sluice_request_body_bytes_total", ["api"]);
  book.add(bytes, 10);
  book.add(bytes, 5);
  const workers = book.place("sluice_workers", ['odd "name"\\\n']);
  book.set(workers, 3);
  book.set(workers, 2);
  const firstByte = book.histogram("sluice_time_to_first_byte_seconds", ["api"]);
  for (const seconds of [0.001, 0.005, 0.006, 0.3, 99]) firstByte.observe(seconds);
  const text = textOf(book);
  assert.ok(text.includes(
    "# TYPE sluice_request_body_bytes_total counter\n" +
      'sluice_request_body_bytes_total{http_route="api"} 15\n',
  ));
  assert.deepEqual(linesOf(text, "sluice_workers"), [
    'sluice_workers{service="odd \\"name\\"\\\\\\n"} 2',
  ]);
  const values = linesOf(text, "sluice_time_to_first_byte_seconds").map((line) =>
    line.slice(line.indexOf("{"))
  );
  assert.deepEqual(
    new Set(values),
    new Set([
      ...[
        ["0.005", 2],
        ["0.01", 3],
        ["0.025", 3],
        ["0.05", 3],
        ["0.075", 3],
        ["0.1", 3],
        [
          "0.25",
          3,
        ],
        ["0.5", 4],
        ["0.75", 4],
        ["1", 4],
        ["2.5", 4],
        ["5", 4],
        ["7.5", 4],
        ["10", 4],
        [
          "+Inf",
          5,
        ],
      ].map(([le, count]) => `{http_route="api",le="${le}"} ${count}`),
      '{http_route="api"} 99.312',
      '{http_route="api"} 5',
    ]),
  );
});

Deno.test("OpenMetrics names counters without their ending, has floating bounds and an end", () => {
  const book = new MetricBook();
  book.add(book.place("sluice_worker_restarts_total", ["main"]), 1);
  book.histogram("sluice_time_to_first_byte_seconds", ["api"]).observe(1);
  const text = textOf(book, "openmetrics");
  assert.match(text, /^# TYPE sluice_worker_restarts counter\n/m);
  assert.match(text, /^sluice_worker_restarts_total\{service="main"\} 1\n/m);
  assert.match(text, /le="1\.0"\} 1\n/);
  assert.ok(text.endsWith("\n# EOF\n"));
  assert.equal(
    metricsFormat("application/openmetrics-text; version=1.0.0,*/*;q=0.1"),
    "openmetrics",
  );
  for (const accept of [null, "*/*", "text/plain"]) {
    assert.equal(metricsFormat(accept), "prometheus");
  }
});

Deno.test("threads are added up; one that ends leaves its counts and takes its gauges along", () => {
  const totals = new MetricTotals();
  const [a, b] = [new MetricBook(), new MetricBook()];
  const [fromA, fromB] = [totals.open(), totals.open()];
  const tell = () => {
    fromA.take(a.report());
    fromB.take(b.report());
  };
  for (const book of [a, b]) {
    book.add(book.place("sluice_request_body_bytes_total", ["x"]), 2);
    book.histogram("sluice_time_to_first_byte_seconds", ["x"]).observe(0.002);
    book.collect((sink) => {
      sink.add("http_server_active_requests", ["main"], 4);
      sink.add("sluice_upstream_healthy", ["u", "e"], book === a ? 0 : 1);
      sink.add("sluice_upstream_weight", ["u", "e"], book === a ? 7 : 3);
      sink.add("sluice_upstream_requests_total", ["u", "e"], 10);
    });
  }
  tell();
  const show = (name: string) => linesOf(metricsText(totals.snapshot(), "prometheus"), name);
  assert.deepEqual(show("sluice_request_body_bytes_total"), [
    'sluice_request_body_bytes_total{http_route="x"} 4',
  ]);
  assert.match(show("http_server_active_requests")[0]!, / 8$/);
  assert.match(show("sluice_upstream_healthy")[0]!, / 0$/);
  assert.match(show("sluice_upstream_weight")[0]!, / 7$/);
  // A series that is made later, and more of the ones there are.
  a.add(a.place("sluice_request_body_bytes_total", ["y"]), 1);
  a.add(a.place("sluice_request_body_bytes_total", ["x"]), 3);
  tell();
  assert.deepEqual(show("sluice_request_body_bytes_total"), [
    'sluice_request_body_bytes_total{http_route="x"} 7',
    'sluice_request_body_bytes_total{http_route="y"} 1',
  ]);
  fromA.retire();
  assert.match(show("sluice_upstream_healthy")[0]!, / 1$/, "what the other one thinks");
  assert.match(show("sluice_upstream_weight")[0]!, / 3$/);
  assert.match(show("http_server_active_requests")[0]!, / 8$/, "what it still does");
  fromA.end();
  assert.match(show("sluice_request_body_bytes_total")[0]!, / 7$/);
  assert.match(show("sluice_upstream_requests_total")[0]!, / 20$/);
  assert.match(show("sluice_time_to_first_byte_seconds_count")[0]!, / 2$/);
  assert.match(show("http_server_active_requests")[0]!, / 4$/);
  assert.match(show("sluice_upstream_healthy")[0]!, / 1$/);
  // The one that takes its place goes on from there.
  const c = new MetricBook();
  c.add(c.place("sluice_request_body_bytes_total", ["x"]), 1);
  totals.open().take(c.report());
  assert.match(show("sluice_request_body_bytes_total")[0]!, / 8$/);
});

Deno.test("places stay good when there are many more, and their number has an end", () => {
  const book = new MetricBook();
  const first = book.place("sluice_request_body_bytes_total", ["first"]);
  const places = new Set<number>();
  for (let i = 0; i < MOST_SERIES + 500; i++) {
    const place = book.place("sluice_request_body_bytes_total", [`route ${i}`]);
    places.add(place);
    book.add(place, 1);
  }
  book.add(first, 42);
  const lines = linesOf(textOf(book), "sluice_request_body_bytes_total");
  assert.ok(lines.includes('sluice_request_body_bytes_total{http_route="first"} 42'));
  assert.ok(lines.includes('sluice_request_body_bytes_total{http_route="_overflow"} 501'));
  assert.equal(lines.length, MOST_SERIES + 1);
});

Deno.test("a report can cross threads, and series are told once", () => {
  const book = new MetricBook();
  book.add(book.place("sluice_workers", ["a"]), 1);
  const report = book.report();
  const moved = structuredClone(report, { transfer: [report.values.buffer] });
  assert.deepEqual([...moved.values], [1]);
  assert.deepEqual(moved.series, [["sluice_workers", "a"]]);
  assert.deepEqual(book.report().series, []);
  assert.deepEqual([...book.report().values], [1]);
});

Deno.test("names, labels and buckets of all metrics are well-formed", () => {
  for (const name of Object.keys(FAMILIES) as FamilyName[]) {
    const { type, labels, buckets, help } = familyRow(name);
    assert.match(name, /^(http_server|http_client|sluice|process)_[a-z_]+$/);
    assert.equal(name.endsWith("_total"), type === "counter", name);
    assert.equal(buckets !== undefined, type === "histogram", name);
    for (const label of labels) assert.match(label, /^[a-z_]+$/);
    assert.ok(!labels.includes("le" as never));
    assert.match(help, /\.$/, name);
    const bounds = [...buckets ?? []];
    assert.deepEqual(bounds, bounds.toSorted((a, b) => a - b), name);
  }
});

Deno.test("the process tells its memory, its time and its descriptors", () => {
  const found = new Map<string, number>();
  processCollector()({ add: (name, _, value) => void found.set(name, value) });
  assert.ok(found.get("process_resident_memory_bytes")! > 10e6);
  assert.ok(found.get("process_cpu_seconds_total")! > 0);
  assert.ok(Math.abs(found.get("process_start_time_seconds")! - Date.now() / 1000) < 3_600);
  const before = found.get("process_open_fds")!;
  const file = Deno.openSync(new URL(import.meta.url));
  processCollector()({ add: (name, _, value) => void found.set(name, value) });
  file.close();
  assert.equal(found.get("process_open_fds"), before + 1);
  assert.ok(found.get("process_max_fds")! > before);
});

Deno.test("observing costs well under a microsecond", () => {
  const book = new MetricBook();
  const counter = book.place("sluice_request_body_bytes_total", ["api"]);
  const histogram = book.histogram("http_server_request_duration_seconds", [
    ...(["api", "GET", "200", "1.1", "http"] as const),
  ]);
  const rounds = 200_000;
  let best = Infinity;
  for (let round = 0; round < 5; round++) {
    const began = performance.now();
    for (let i = 0; i < rounds; i++) {
      book.add(counter, 100);
      histogram.observe((i & 1023) / 1000);
    }
    best = Math.min(best, (performance.now() - began) / rounds * 1e6);
  }
  assert.ok(best < 900, `${best} ns for one count and one observation`);
});
