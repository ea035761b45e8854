import assert from "node:assert/strict";
import { parse } from "yaml";
import { SELECTIONS } from "../../src/balancer/selection/table.ts";
import { formattedPage } from "../../docs/format_page.ts";
import { configKeys } from "../../src/config/json_schema.ts";
import { withTables } from "../../src/config/manual.ts";
import { testCertificates } from "../support/certs.ts";
import { testWith } from "../support/require.ts";
import { errorsOf } from "./support.ts";

const FILE = new URL("../../docs/config.md", import.meta.url);
const MANUAL = Deno.readTextFileSync(FILE);
const CERT = "-----BEGIN CERTIFICATE-----\n";
const KEY = "-----BEGIN PRIVATE KEY-----\n";

function blocks(kind: string): string[] {
  const fence = new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\``, "gm");
  return [...MANUAL.matchAll(fence)].map((match) => match[1]!);
}

/** Tables as the formatter aligns them and as they are made are the same but for spaces and dashes. */
function unaligned(text: string): string {
  return text.replace(/ +\|/g, " |").replace(/-{3,}/g, "---");
}

function paths(value: unknown, path: string, found: Set<string>): void {
  found.add(path);
  if (Array.isArray(value)) {
    for (const item of value) paths(item, `${path}[]`, found);
  } else if (typeof value === "object" && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      paths(inner, path === "" ? key : `${path}.${key}`, found);
      paths(inner, `${path}.{}`, found);
    }
  }
}

Deno.test("the tables of the manual are those of the schema (UPDATE_DOCS=1 makes them anew)", async () => {
  if (Deno.env.get("UPDATE_DOCS") === "1") {
    Deno.writeTextFileSync(FILE, await formattedPage(withTables(MANUAL)));
  }
  const current = Deno.readTextFileSync(FILE);
  assert.equal(unaligned(current), unaligned(withTables(current)));
});

Deno.test("every key of the schema has a row and stands in an example", () => {
  const shown = new Set<string>();
  for (const text of [...blocks("yaml"), ...blocks("yaml alternative")]) {
    paths(parse(text), "", shown);
  }
  for (const key of configKeys()) {
    const inTable = MANUAL.includes(`| \`${key.path}\``) ||
      /\.when\.|rules\[\]\.match\.|^services\[\]\.plugins\[\]\./.test(key.path) ||
      /^[a-z]+$/.test(key.path);
    assert.ok(inTable, `${key.path} has no row in docs/config.md`);
    // The match of a rule and the uses of a service are shown once, at the route.
    if (/rules\[\]\.match\.|^services\[\]\.plugins\[\]\./.test(key.path)) continue;
    assert.ok(shown.has(key.path), `${key.path} is in no example of docs/config.md`);
  }
});

testWith(["openssl"], "the examples of the manual, put together, are a config", async () => {
  const { server, client, ca, otherCa } = testCertificates();
  const options = {
    plugins: ["geo-block", "request-id", "old-plugin"],
    files: {
      "roots.pem": CERT,
      "client.pem": CERT,
      "client.key": KEY,
      "site.pem": server.cert,
      "site.key": server.key,
      "other.pem": client.cert,
      "other.key": client.key,
      "clients.pem": ca,
      "staff.pem": otherCa,
    },
  };
  assert.deepEqual(await errorsOf(blocks("yaml").join(""), options), []);
  assert.deepEqual(await errorsOf(blocks("yaml minimal").join(""), options), []);
});

Deno.test("each example that stands by itself is a config without errors", async () => {
  const examples = blocks("yaml example");
  assert.ok(examples.length >= 7, "there is one for each feature of upstreams");
  for (const text of examples) assert.deepEqual(await errorsOf(text), [], text);
});

Deno.test("the policies of the manual are those there are, with the words of their table", () => {
  for (const [name, { summary }] of Object.entries(SELECTIONS)) {
    const row = MANUAL.split("\n").find((line) => line.startsWith("|") && line.includes(summary));
    assert.ok(row?.split("|")[1]?.includes(`\`${name}\``), name);
  }
});
