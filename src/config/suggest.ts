/**
 * "Did you mean": the nearest of the words that would have been right.
 *
 * @module
 */

/** What people write who come from another proxy, and what it is called here. */
const SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  listen: ["address", "listeners"],
  bind: ["address"],
  listener: ["listeners"],
  entrypoints: ["listeners"],
  server: ["endpoints"],
  servers: ["endpoints"],
  backends: ["endpoints", "upstreams"],
  targets: ["endpoints"],
  nodes: ["endpoints"],
  clusters: ["upstreams"],
  backend: ["upstream"],
  proxy_pass: ["upstream"],
  middlewares: ["plugins"],
  policies: ["plugins"],
  workers: ["threads"],
  worker_processes: ["threads"],
  config: ["with"],
  options: ["with"],
  plugin: ["use", "plugins"],
  if: ["when"],
  url: ["address"],
  host: ["host", "address"],
  sni: ["server_name"],
  headers: ["header", "headers"],
  methods: ["method"],
  paths: ["path"],
  hosts: ["host"],
  name: ["name", "id"],
  id: ["id", "name"],
  dir: ["directory"],
  path: ["path", "directory"],
  canary: ["split"],
  traffic_split: ["split"],
  shadow: ["mirror"],
  buffer: ["buffer_bytes"],
  max_fails: ["consecutive_failures"],
  fail_timeout: ["eject"],
  base_ejection_time: ["eject"],
  max_ejection_percent: ["max_ejected"],
  max_ejection_time: ["max_eject"],
  consecutive_errors: ["consecutive_failures"],
  open_time: ["open_for"],
  sleep_window: ["open_for"],
  send_proxy: ["proxy_protocol"],
  max_lifetime: ["max_age"],
  num_retries: ["attempts"],
  retries: ["retry", "attempts"],
  retry_on: ["on"],
  lb_policy: ["policy"],
  algorithm: ["policy"],
  ewma: ["peak_ewma"],
  least_request: ["least_connections"],
  least_requests: ["least_connections"],
  consistent_hash: ["ketama"],
  ring_hash: ["ketama"],
  chash: ["ketama"],
  maglev: ["ketama"],
  ip: ["address"],
  client_ip: ["address"],
  rr: ["round_robin"],
};

/** Edits that turn `a` into `b`: insert, delete, replace, or swap two neighbours. */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, before[j - 2]! + 1);
      }
      row.push(best);
    }
    before = previous;
    previous = row;
  }
  return previous[b.length]!;
}

/** The word that was probably meant, or `null` when none is near. */
export function suggest(word: string, known: Iterable<string>): string | null {
  // Nobody misspells a word this long; and the distance of two long texts takes long.
  if (word.length > 64) return null;
  const words = [...known];
  const folded = fold(word);
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(folded.length / 3)) + 1;
  for (const candidate of words) {
    const distance = editDistance(folded, fold(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  if (best !== null) return best;
  for (const [foreign, ours] of Object.entries(SYNONYMS)) {
    const near = editDistance(folded, foreign) <= (foreign.length > 4 ? 1 : 0);
    const found = near ? ours.find((one) => words.includes(one)) : undefined;
    if (found !== undefined) return found;
  }
  return null;
}

/** `, did you mean "x"?`, or nothing. */
export function didYouMean(word: string, known: Iterable<string>): string {
  const found = suggest(word, known);
  return found === null ? "" : `, did you mean ${JSON.stringify(found)}?`;
}

// gracePeriod, grace-period and grace_period are one word to a reader.
function fold(word: string): string {
  return word.replace(/([a-z0-9])([A-Z])/g, "$1_$2").replaceAll("-", "_").toLowerCase();
}
