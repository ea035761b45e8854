import assert from "node:assert/strict";
import type { Backend } from "../../../src/balancer/backend.ts";
import { Ketama } from "../../../src/balancer/selection/ketama.ts";
import { startNginx } from "../../support/nginx.ts";
import { testWith } from "../../support/require.ts";
import { backend, from } from "../support.ts";
import { NGINX_SERVERS, NGINX_VECTORS } from "./nginx_vectors.ts";

/** All members in the order that a key asks them. */
function sequence(ketama: Ketama, key: string): string[] {
  const tried = new Set<Backend>();
  const ids: string[] = [];
  for (let next = ketama.pick(key, null); next !== null; next = ketama.pick(key, tried)) {
    tried.add(next);
    ids.push(next.id);
  }
  return ids;
}

function ring(): Ketama {
  const ketama = new Ketama();
  ketama.update(from(NGINX_SERVERS.map(([address, weight]) => backend(address, weight))));
  return ketama;
}

Deno.test("keys go to the members that nginx 1.22.1 sends them to, and on failure to the same next ones", () => {
  const ketama = ring();
  for (const [key, ...expected] of NGINX_VECTORS) {
    assert.deepEqual(sequence(ketama, key!).slice(0, 3), expected, key);
  }
});

testWith(
  ["nginx"],
  "200 keys go where the installed nginx sends them with hash $arg_k consistent, retries too",
  async () => {
    const socket = await Deno.makeTempFile({ suffix: ".sock" });
    await Deno.remove(socket);
    // Nobody listens there, so nginx asks one after the other and tells whom it asked.
    const servers = NGINX_SERVERS.map(([address, weight]) =>
      `server ${address} weight=${weight} max_fails=0;`
    ).join("\n");
    await using nginx = await startNginx(`
      location / {
        proxy_pass http://ring;
        proxy_next_upstream error timeout;
        add_header x-asked $upstream_addr always;
      }
    }
    upstream ring {
      hash $arg_k consistent;
      ${servers}
    }
    server {
      listen unix:${socket};
    `);
    const ketama = ring();
    for (let i = 0; i < 200; i++) {
      const key = `key-${i * 7919}`;
      const response = await fetch(`${nginx.url}/?k=${key}`);
      await response.body?.cancel();
      assert.equal(response.status, 502);
      const asked = response.headers.get("x-asked")!.split(", ");
      // After 20 points nginx gives the ring up and takes turns, so the last of a long failure differ.
      assert.deepEqual(sequence(ketama, key).slice(0, 3), asked.slice(0, 3), key);
    }
  },
);
