/**
 * A config with a secret in every place that takes one, each with a text by which it is found again.
 *
 * @module
 */
import { testCertificates } from "./certs.ts";

/** Stands in every secret; nothing else holds it. */
export const MARK = "hidden-marker";

/** Environment variables that the config refers to. */
export const SECRET_ENV: Readonly<Record<string, string>> = {
  PLUGIN_PASSWORD: `${MARK}-plugin-password`,
  SHARED_SECRET: `${MARK}-shared`,
};

/** Files beside the config that it refers to. */
export const SECRET_FILES: Readonly<Record<string, string>> = {
  "token.txt": `${MARK}-token-0123456789`,
  "upstream.txt": `${MARK}-upstream`,
};

/** Addresses that a running program is to have. */
export interface SecretPlaces {
  /** Of the listener, the admin interface, the endpoint, the outer proxy and the registry. */
  readonly web: string;
  readonly admin: string;
  readonly origin: string;
  readonly proxy: string;
  readonly registry: string;
}

/** For who only reads the config. */
export const NOWHERE: SecretPlaces = {
  web: "127.0.0.1:8443",
  admin: "127.0.0.1:6190",
  origin: "127.0.0.1:1",
  proxy: "127.0.0.1:3128",
  registry: "http://127.0.0.1:2",
};

/** The config. Plugins `geo` and `other` are to be there. */
export function secretConfig(places: SecretPlaces): string {
  const { server, client } = testCertificates();
  return `listeners:
  - name: web
    address: "${places.web}"
    tls:
      certificates:
        - cert: |
${indented(server.cert)}
          key: |
${indented(server.key)}
services:
  - name: edge
    plugins: [{ use: geo, with: { password: "\${PLUGIN_PASSWORD}", list: [${MARK}-list] } }]
    routes:
      - id: known
        match: { path: "/known", header: { x-origin-secret: ${MARK}-match, x-shared: "\${SHARED_SECRET}" } }
        upstream: through
        plugins: [{ use: other, with: { salt: ${MARK}-salt }, when: { header: { x-api-key: ${MARK}-when } } }]
      - id: all
        upstream: plain
        rules:
          - { match: { header: { authorization: ${MARK}-rule } }, request: { set: { Authorization: "Bearer ${MARK}-set", X-Api-Key: ${MARK}-key, x-shared: "\${SHARED_SECRET}", x-plain: shown } } }
upstreams:
  - name: plain
    endpoints: ["${places.origin}"]
    load_balancing: { sticky: { cookie: r, secret: ${MARK}-sticky-0123456789 } }
    health_check: { active: { path: "/health?key=${MARK}-health-path", interval: 1s, timeout: 500ms, headers: { x-check: "${MARK}-health" } } }
  - name: through
    endpoints: ["${places.origin}"]
    transport:
      proxy: { address: "${places.proxy}", headers: { proxy-authorization: "Basic ${MARK}-proxy" } }
      tls:
        verify: false
        client_certificate:
          cert: |
${indented(client.cert)}
          key: |
${indented(client.key)}
  - name: found
    discovery: { type: http, interval: 1s, timeout: 500ms, url: "${places.registry}/list?token=${MARK}-registry", headers: { authorization: "Bearer \${file:upstream.txt}" } }
admin: { listen: "${places.admin}", token: "\${file:token.txt}" }
telemetry: { log: { level: debug }, metrics: {} }
plugins: { directory: plugins, isolation: { other: process } }
`;
}

function indented(pem: string): string {
  return pem.trimEnd().split("\n").map((line) => `            ${line}`).join("\n");
}

/** Lines of a text that tell a secret of that config. */
export function tellingLines(text: string): string[] {
  const { server, client } = testCertificates();
  const keys = [server, client].flatMap(({ key }) => key.split("\n")).filter((line) =>
    /^[A-Za-z0-9+/=]{16,}$/.test(line)
  );
  return text.split("\n").filter((line) =>
    line.includes(MARK) || keys.some((key) => line.includes(key))
  );
}
