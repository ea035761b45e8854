/** A program that runs with every secret that a config can hold tells none of them, whoever asks and whatever fails. */
import assert from "node:assert/strict";
import { curl } from "../support/curl.ts";
import { eventually } from "../support/deadline.ts";
import { plugin } from "../support/plugin_text.ts";
import { startRawOrigin } from "../support/raw_origin.ts";
import { reload, writeConfig } from "../support/reload.ts";
import { testWith } from "../support/require.ts";
import {
  MARK,
  SECRET_ENV,
  SECRET_FILES,
  secretConfig,
  type SecretPlaces,
  tellingLines,
} from "../support/secret_config.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { runSluice, startSluice } from "../support/sluice.ts";

/** Takes any config, and complains of it when it is told to. */
const PLUGIN = (name: string) =>
  plugin(`  name: "${name}",
  config: {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value) =>
        value.list?.includes("complain")
          ? { issues: [{ path: ["password"], message: "unknown password " + value.password }] }
          : { value },
    },
  },
  requestFilter() {},`);

testWith(
  ["openssl", "curl"],
  "the log at debug, the admin interface, the verbs, metrics and refused reloads tell no secret",
  async () => {
    await using origin = await startSimpleOrigin();
    // Refuses everything, so that checks and look-ups fail and are logged.
    await using refusing = await startRawOrigin((connection) =>
      connection.answerAll("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
    );
    const placesIn = (directory: string): SecretPlaces => ({
      web: "127.0.0.1:0",
      admin: `unix:${directory}/admin.sock`,
      origin: origin.address,
      proxy: refusing.address,
      registry: refusing.url,
    });
    await using sluice = await startSluice({
      config: (directory) => secretConfig(placesIn(directory)),
      env: SECRET_ENV,
      files: SECRET_FILES,
      plugins: { "geo.ts": PLUGIN("geo"), "other.ts": PLUGIN("other") },
    });
    const port = sluice.port();
    const ask = (path: string, ...args: string[]) =>
      curl(
        ...["-k", "-o", "/dev/null", "-w", "%{http_code}"],
        ...args,
        `https://127.0.0.1:${port}${path}`,
      );
    assert.equal((await ask("/bytes/1", "-H", `authorization: ${MARK}-rule`)).stdout, "200");
    assert.equal(
      (await ask(
        "/known",
        ...["-H", `x-origin-secret: ${MARK}-match`],
        ...["-H", `x-shared: ${SECRET_ENV["SHARED_SECRET"]}`, "-H", `x-api-key: ${MARK}-when`],
      )).stdout,
      "502",
    );
    // The secrets are in use, and what fails is told.
    await eventually(
      () => origin.count(`/health?key=${MARK}-health-path`) > 0,
      "a health check",
    );
    await sluice.waitForOutput(/[Dd]iscovery of upstream found/);

    const verbs: string[][] = [
      ["status"],
      ["status", "--json"],
      ["upstreams"],
      ["upstreams", "--json"],
      ["metrics"],
      ["config", "diff"],
      ["config", "diff", "--json"],
    ];
    const printed = async (args: readonly string[], code: number) => {
      const result = await runSluice([...args, "-c", `${sluice.directory}/sluice.yaml`], {
        env: SECRET_ENV,
      });
      assert.equal(result.code, code, `${args.join(" ")}: ${result.stderr}`);
      return `${args.join(" ")}\n${result.stdout}${result.stderr}`;
    };
    for (const args of verbs) assert.deepEqual(tellingLines(await printed(args, 0)), []);
    const admin = (path: string, ...args: string[]) =>
      curl("--unix-socket", `${sluice.directory}/admin.sock`, ...args, `http://localhost/${path}`);
    const token = SECRET_FILES["token.txt"]!;
    for (const path of ["status", "config", "config/changes", "upstreams", "plugins", "metrics"]) {
      const { stdout } = await admin(path, "-H", `Authorization: Bearer ${token}`);
      assert.ok(stdout.length > 10, path);
      assert.deepEqual(tellingLines(stdout), [], path);
    }
    assert.match((await admin("config")).stdout, /"status": ?401/);

    const text = secretConfig(placesIn(sluice.directory));
    writeConfig(sluice, text.replace("sticky: {", "stickie: {"));
    assert.deepEqual(tellingLines(await printed(["reload"], 1)), []);
    writeConfig(sluice, text.replace(`[${MARK}-list]`, "[complain]"));
    const complained = await printed(["reload"], 1);
    assert.deepEqual(tellingLines(complained), []);
    assert.match(complained, /unknown password \(hidden\)/);
    assert.equal(await reload(sluice, `${text}\n }`), false);
    assert.equal(await reload(sluice, text.replaceAll(`${MARK}-s`, `${MARK}-t`)), true);
    assert.equal(await sluice.stop(), 0);
    assert.match(sluice.stderr(), /DEBUG/);
    assert.deepEqual(tellingLines(sluice.stderr()), []);
    assert.deepEqual(tellingLines(JSON.stringify(sluice.accessLog())), []);
  },
);
