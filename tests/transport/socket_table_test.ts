import assert from "node:assert/strict";
import { hasIpv6 } from "../support/ipv6.ts";
import {
  descriptorsOf,
  endAddress,
  endText,
  LISTENING,
  readTable,
} from "../../src/transport/socket_table.ts";

Deno.test("an address comes back from how the kernel writes it", () => {
  for (const host of ["127.0.0.1", "0.0.0.0", "192.168.1.200", "::", "::1", "2001:db8::1:ff"]) {
    const address = { kind: "tcp", host, port: 8080 } as const;
    assert.deepEqual(endAddress(endText(address)), address);
  }
});

Deno.test("a listening socket of this process is in the table, with its descriptor", () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { hostname: host, port } = listener.addr;
  const end = endText({ kind: "tcp", host, port });
  const rows = [...readTable()].filter((row) => row.state === LISTENING && row.local === end);
  assert.equal(rows.length, 1);
  assert.equal(descriptorsOf(new Set([rows[0]!.inode])).size, 1);
});

Deno.test("both ends of a connection are in the table, and what is left when it is over is not", async () => {
  for (const hostname of ["127.0.0.1", ...(hasIpv6() ? ["::1"] : [])]) {
    using listener = Deno.listen({ hostname, port: 0 });
    const { port } = listener.addr;
    const client = await Deno.connect({ hostname, port });
    const server = await listener.accept();
    const near = endText({ ...client.localAddr, kind: "tcp", host: hostname });
    const far = endText({ kind: "tcp", host: hostname, port });
    const rows = () =>
      [...readTable()].filter(({ local, remote }) =>
        local === near && remote === far || local === far && remote === near
      );
    assert.equal(rows().length, 2);
    // Who closes first has it in TIME_WAIT.
    server.close();
    assert.equal(await client.read(new Uint8Array(1)), null);
    client.close();
    while (rows().length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
});
