/** Connections whose clients said that they send nothing after their request, by both engines. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { withDeadline } from "../support/deadline.ts";
import { text } from "../support/http_text.ts";
import { get, RawClient } from "../support/raw_client.ts";
import { pattern, startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";
import { SOCKET_ENGINES } from "../support/socket_engines.ts";

const LAST = { Connection: "close" };

for (const engine of SOCKET_ENGINES) {
  Deno.test({
    name:
      `engine ${engine}: a connection ends with its last answer, which is whole for whoever reads it`,
    async fn() {
      const gone = Promise.withResolvers<void>();
      const asked = Promise.withResolvers<void>();
      await using origin = await startSimpleOrigin({
        async handler({ target }, connection) {
          if (target !== "/never") return undefined;
          asked.resolve();
          await connection.whenEnded(60_000);
          gone.resolve();
          return null;
        },
      });
      await using sluice = await startSluice({
        config: configFile({ origin: origin.address, listener: { engine, abort_on_close: true } }),
      });
      const port = sluice.port();
      const whole = async (path: string, wanted: string, more: string = "", pause: number = 0) => {
        await using client = await RawClient.connect(port);
        await client.send(get(path, LAST) + more);
        // Most of a large answer is in the kernel's hands by then, and its sender has closed.
        if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
        const answer = await client.response("GET", 30_000);
        assert.ok(text(answer) === wanted, path);
        assert.equal(await client.whenEnded(), "fin", path);
      };
      await Promise.all(Array.from({ length: 50 }, () => whole("/bytes/100", pattern(100))));
      await whole("/bytes/3000000", pattern(3_000_000), "", 200);
      await whole("/chunked/300000", pattern(300_000), "", 200);
      // What comes although it must not is read over: a reset could take the answer away.
      await whole("/bytes/300000", pattern(300_000), "x".repeat(100_000));
      await whole("/delay/200", "late");

      // Whoever goes away is not worked for.
      const client = await RawClient.connect(port);
      await client.send(get("/never", LAST));
      await withDeadline(asked.promise, 30_000, "the request at the origin");
      await client[Symbol.asyncDispose]();
      await withDeadline(gone.promise, 30_000, "the end of the request at the origin");
    },
  });
}
