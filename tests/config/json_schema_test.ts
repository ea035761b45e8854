import assert from "node:assert/strict";
import { configKeys, configSchema } from "../../src/config/json_schema.ts";

Deno.test("every key has a description", () => {
  const keys = configKeys();
  assert.ok(keys.length > 100);
  for (const key of keys) assert.notEqual(key.description, "", key.path);
});

Deno.test("every default stands in the schema as one would write it", () => {
  const byPath = new Map(configKeys().map((key) => [key.path, key]));
  assert.equal(byPath.get("listeners[].limits.head_bytes")?.fallback, '"32KiB"');
  assert.equal(byPath.get("server.grace_period")?.fallback, '"10s"');
  assert.equal(byPath.get("listeners[].address")?.required, true);
});

Deno.test("the schema is of draft 2020-12, closed, and lets x- keys pass", () => {
  const schema = configSchema();
  assert.equal(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  assert.equal(schema["additionalProperties"], false);
  assert.deepEqual(schema["patternProperties"], { "^x-": {} });
  JSON.stringify(schema);
});

Deno.test("the schemas of plugins are found under their use, references included", () => {
  const schema = configSchema({
    geo: {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      type: "object",
      properties: { deny: { $ref: "#/$defs/list" } },
      $defs: { list: { type: "array" } },
    },
  });
  const definitions = schema["$defs"] as Record<string, Record<string, unknown>>;
  assert.equal(definitions["plugin-geo"]!["$schema"], undefined);
  assert.deepEqual(definitions["plugin-geo"]!["properties"], {
    deny: { $ref: "#/$defs/plugin-geo/$defs/list" },
  });
  const conditions = JSON.stringify(schema).match(/"const":"geo"/g);
  // Once for the plugins of a service, once for those of a route.
  assert.equal(conditions?.length, 2);
});
