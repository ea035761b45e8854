import assert from "node:assert/strict";
import { shownConfig } from "../../src/config/shown.ts";
import { configOf } from "./support.ts";

Deno.test("a config that is shown keeps what operators look for, and nothing that is secret", async () => {
  const config = await configOf(
    `listeners: [{ name: web, address: "127.0.0.1:8080" }]
services:
  - name: edge
    routes:
      - id: all
        upstream: app
        rules:
          - request:
              set:
                Authorization: "Bearer \${TOKEN}"
                X-Api-Key: hidden-key
                Cookie: "a=hidden"
                X-Upstream-Secret: hidden-too
                X-Plain: shown
          - match: { path: /x }
            respond: { status: 200, headers: { x-a: shown }, body: shown }
upstreams:
  - name: app
    endpoints: ["10.0.0.1:80"]
    load_balancing: { sticky: { cookie: c, secret: "hidden-sticky-secret-0123456789" } }
admin: { listen: "unix:/a.sock", token: "\${TOKEN}" }
`,
    { env: { TOKEN: "hidden-token-0123456789" } },
  );
  const text = JSON.stringify(shownConfig(config));
  assert.equal(text.includes("hidden"), false, text);
  const [set, answer] = (shownConfig(config) as typeof config).services[0]!.routes[0]!.rules;
  assert.deepEqual(set!.request, {
    Authorization: "(secret)",
    "X-Api-Key": "(secret)",
    Cookie: "(secret)",
    "X-Upstream-Secret": "(secret)",
    "X-Plain": "shown",
  });
  assert.equal(answer!.respond!.body, "shown");
});
