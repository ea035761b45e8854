import assert from "node:assert/strict";
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
