/** Why a client with a certificate that will not do is not let in: in the log, and in the metrics. */
import assert from "node:assert/strict";
import { moreCertificates } from "../connector/tls_certificates.ts";
import { Authority, type Signed } from "../support/authority.ts";
import { testCertificates } from "../support/certs.ts";
import { configFile } from "../support/config.ts";
import { curl } from "../support/curl.ts";
import { eventually } from "../support/deadline.ts";
import { metricsUntil } from "../support/metrics.ts";
import { testWith } from "../support/require.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

testWith(
  ["openssl", "curl"],
  "a client certificate that will not do is refused with the reason: in TLS 1.2 and 1.3, demanded or not",
  async () => {
    using authority = new Authority();
    using stranger = new Authority();
    const { ca, client, expired, early } = testCertificates();
    const more = moreCertificates();
    const pairs: Record<string, Signed> = {
      site: authority.sign("a.test"),
      client,
      chained: more.client,
      bare: more.bareClient,
      stranger: stranger.sign("client.test"),
      expired,
      early,
      server: authority.signFor(["client.test"], "extendedKeyUsage=serverAuth"),
    };
    const files: Record<string, string> = {
      "site-roots.pem": authority.ca,
      "roots.pem": [ca, more.ca, authority.ca].join("\n"),
    };
    for (const [name, { cert, key }] of Object.entries(pairs)) {
      files[`${name}.pem`] = cert;
      files[`${name}.key`] = key;
    }
    const modes = ["required", "optional"];
    await using origin = await startSimpleOrigin();
    await using sluice = await startSluice({
      config: configFile({
        origin: origin.address,
        top: {
          listeners: modes.map((mode) => ({
            name: mode,
            address: "127.0.0.1:0",
            tls: {
              certificates: [{ cert: "site.pem", key: "site.key" }],
              client_auth: { mode, ca: "roots.pem" },
            },
          })),
          telemetry: { log: { level: "debug" }, metrics: { listen: "127.0.0.1:0" } },
        },
      }),
      files,
    });
    const metrics = Number((await sluice.waitForOutput(/metrics\s+127\.0\.0\.1:(\d+)/))[1]);
    const { directory } = sluice;
    const ask = async (mode: string, version: string, name: string) => {
      const port = sluice.port(mode);
      const { stdout } = await curl(
        ...["--cacert", `${directory}/site-roots.pem`, "--resolve", `a.test:${port}:127.0.0.1`],
        ...(version === "1.2" ? ["--tls-max", "1.2"] : ["--tlsv1.3"]),
        ...(name === "none"
          ? []
          : ["--cert", `${directory}/${name}.pem`, "--key", `${directory}/${name}.key`]),
        ...["-o", "/dev/null", "-w", "%{http_code}", `https://a.test:${port}/bytes/1`],
      );
      return Number(stdout);
    };
    const reasons: Record<string, RegExp> = {
      none: /the client has shown no certificate/,
      bare:
        /not accepted: it was not issued by a trusted root: CN=\S.* is neither trusted nor shown/,
      stranger:
        /not accepted: it was not issued by a trusted root: CN=Root of the tests is neither/,
      expired: /not accepted: it has expired/,
      early: /not accepted: it is not valid yet/,
      server: /not accepted: it is not for clients/,
    };
    for (const mode of modes) {
      let refused = 0;
      for (const version of ["1.2", "1.3"]) {
        for (const name of ["client", "chained"]) {
          assert.equal(await ask(mode, version, name), 200, `${mode} ${version} ${name}`);
        }
        for (const [name, reason] of Object.entries(reasons)) {
          const optional = name === "none" && mode === "optional";
          const before = sluice.stderr().length;
          assert.equal(
            await ask(mode, version, name),
            optional ? 200 : 0,
            `${mode} ${version} ${name}`,
          );
          if (optional) continue;
          refused++;
          await eventually(
            () => reason.test(sluice.stderr().slice(before)),
            `${reason} in the log of ${mode}, TLS ${version}:\n${sluice.stderr().slice(before)}`,
            60_000,
          );
        }
      }
      await metricsUntil(
        metrics,
        (now) =>
          now.get(
            `sluice_connections_rejected_total{listener="${mode}",reason="client_certificate"}`,
          ) === refused,
        `${refused} refusals of ${mode}`,
      );
    }
  },
);
