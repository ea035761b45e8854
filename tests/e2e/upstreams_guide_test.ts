/** The examples of docs/upstreams.md are configs that `check` accepts, as they stand there. */
import assert from "node:assert/strict";
import { parse } from "yaml";
import { parseEndpoints } from "../../src/balancer/discovery/endpoint_list.ts";
import { runSluice } from "../support/sluice.ts";

const GUIDE = await Deno.readTextFile(new URL("../../docs/upstreams.md", import.meta.url));

function blocks(kind: string): string[] {
  const fence = new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\``, "gm");
  return [...GUIDE.matchAll(fence)].map((match) => match[1]!);
}

/** A config, and the heading that it stands under. */
function examples(): [string, string][] {
  return GUIDE.split(/^#+ /m).flatMap((section) => {
    const title = section.slice(0, section.indexOf("\n"));
    return [...section.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map((
      match,
      i,
    ): [string, string] => [`${title}${i === 0 ? "" : ` (${i + 1})`}`, match[1]!]);
  });
}

const [members] = blocks("yaml members");
const [pin, finder] = blocks("ts");
/** Files that the examples name, as far as `check` looks into them. */
const FILES = {
  "members.yaml": members!,
  "roots.pem": "-----BEGIN CERTIFICATE-----\n",
  "client.pem": "-----BEGIN CERTIFICATE-----\n",
  "client.key": "-----BEGIN PRIVATE KEY-----\n",
};

for (const [title, config] of examples()) {
  Deno.test(`check accepts the example of the guide: ${title}`, async () => {
    const { code, stdout, stderr } = await runSluice(
      (directory) => ["check", "-c", `${directory}/sluice.yaml`],
      { config, files: FILES, plugins: { "finder.ts": finder!, "pin.ts": pin! } },
    );
    assert.equal(code, 0, `${stdout}${stderr}`);
    assert.doesNotMatch(stderr, /warning/, stderr);
  });
}

Deno.test("the guide shows every feature of upstreams", () => {
  const all = examples().map(([, config]) => config).join("\n");
  for (
    const key of [
      ...["policy", "hash", "sticky", "subset", "panic_threshold", "slow_start", "weight"],
      ...["backup", "labels", "split", "split_by", "mirror", "hedge", "retry", "per_try_timeout"],
      ...["budget", "backoff", "active", "passive", "circuit_breaker", "discovery", "allow"],
      ...["tls", "prewarm", "proxy", "max_connections", "max_pending", "client_certificate"],
      ...["proxy_protocol", "local_address", "max_age", "max_requests", "alternative_name"],
    ]
  ) assert.match(all, new RegExp(`\\b${key}:`), key);
  for (const type of ["dns", "srv", "http", "file", "plugin"]) {
    assert.ok(all.includes(`type: ${type}`), type);
  }
});

Deno.test("the list of members in the guide is one that discovery reads", () => {
  const endpoints = parseEndpoints(parse(members!), {
    context: "The guide",
    errorType: "config_error",
    unix: true,
  });
  assert.deepEqual(endpoints.map(({ weight }) => weight), [1, 2]);
});

Deno.test("the README leads to each example, and to nothing that has none", async () => {
  const readme = await Deno.readTextFile(new URL("../../README.md", import.meta.url));
  const linked = [...readme.matchAll(/docs\/upstreams\.md#([a-z0-9-]+)/g)].map((match) =>
    match[1]!
  );
  const anchor = (title: string) =>
    title.replace(/ \(\d+\)$/, "").toLowerCase().replace(/[^a-z0-9 -]/g, "").replaceAll(" ", "-");
  const shown = new Set(examples().map(([title]) => anchor(title)));
  assert.deepEqual(new Set(linked), shown);
});

Deno.test("check accepts the config of the README", async () => {
  const readme = await Deno.readTextFile(new URL("../../README.md", import.meta.url));
  const [config] = [...readme.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map((match) => match[1]!);
  const { code, stdout, stderr } = await runSluice(
    (directory) => ["check", "-c", `${directory}/sluice.yaml`],
    { config: config! },
  );
  assert.equal(code, 0, `${stdout}${stderr}`);
});
