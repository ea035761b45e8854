/** Which hosts a TLS connection may be used for. */
import assert from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import type { DownstreamSession } from "../../src/http/session.ts";
import { checkHost, type HostPolicy } from "../../src/proxy/host_check.ts";
import type { ConnectionTls } from "../../src/transport/socket.ts";
import { fakeDownstream } from "./fake_downstream.ts";

const TLS: ConnectionTls = {
  version: "TLSv1.3",
  cipher: "",
  serverName: "a.test",
  alpn: "",
  resumed: false,
  certificate: null,
  ownNames: ["a.test", "*.w.test", "127.0.0.1", "::1"],
  clientChain: [],
};

/** Status that a request for a host gets on a connection; 0 if it may pass. */
function statusOf(
  authority: string,
  tls: ConnectionTls | null,
  policy: Partial<HostPolicy> = {},
): number {
  const fake = fakeDownstream({ fields: authority === "" ? [] : [["Host", authority]] });
  const session = {
    head: fake.head,
    connection: { ...fake.connection, tls },
  } as DownstreamSession;
  try {
    checkHost(session, { strict: true, demand: null, ...policy });
    return 0;
  } catch (error) {
    assert.ok(error instanceof ProxyError);
    assert.equal(error.source, "downstream");
    return error.status;
  }
}

Deno.test("a host that the certificate is not for is 421, where that is wanted", () => {
  const good = [
    "a.test",
    "A.TEST",
    "a.test.",
    "a.test:8443",
    "x.w.test",
    "127.0.0.1:1",
    "[::1]:1",
    "",
  ];
  for (const host of good) assert.equal(statusOf(host, TLS), 0, host);
  for (const host of ["b.test", "w.test", "x.y.w.test", "127.0.0.2", "[::2]"]) {
    assert.equal(statusOf(host, TLS), 421, host);
    assert.equal(statusOf(host, TLS, { strict: false }), 0, host);
    assert.equal(statusOf(host, null), 0, "there is no certificate in clear text");
  }
});

Deno.test("a host with a demand of its own wants a connection of its own", () => {
  const required = { mode: "required" } as const;
  const staff = { mode: "required" } as const;
  const optional = { mode: "optional" } as const;
  const none = { mode: "none" } as const;
  const demands = new Map<string, { mode: "none" | "optional" | "required" }>([
    ["a.test", none],
    ["admin.w.test", required],
    ["other.w.test", required],
    ["staff.w.test", staff],
    ["maybe.w.test", optional],
  ]);
  const demand = (host: string) => demands.get(host) ?? none;
  const certificate = {
    subject: "CN=x",
    issuer: "",
    names: [],
    serialNumber: "",
    fingerprint: "",
    notBefore: 0,
    notAfter: 0,
    verified: true,
  };
  const at = (serverName: string, shown = false): ConnectionTls => ({
    ...TLS,
    serverName,
    certificate: shown ? certificate : null,
  });
  assert.equal(statusOf("admin.w.test", at("a.test"), { demand }), 421);
  assert.equal(statusOf("admin.w.test", at("a.test", true), { demand }), 421);
  assert.equal(statusOf("maybe.w.test", at("a.test"), { demand }), 421);
  assert.equal(statusOf("admin.w.test", at("admin.w.test", true), { demand }), 0);
  assert.equal(
    statusOf("other.w.test", at("admin.w.test", true), { demand }),
    0,
    "the same demand",
  );
  assert.equal(statusOf("staff.w.test", at("admin.w.test", true), { demand }), 421);
  assert.equal(statusOf("a.test", at("admin.w.test", true), { demand }), 0);
  assert.equal(statusOf("maybe.w.test", at("maybe.w.test"), { demand }), 0);
  // HTTP/1.0 without a host is what the names are that nobody has mentioned.
  assert.equal(statusOf("", at("a.test"), { demand }), 0);
  assert.equal(statusOf("", at("admin.w.test", true), { demand }), 0);
  const closed = (host: string) => host === "a.test" ? none : required;
  assert.equal(statusOf("", at("a.test"), { demand: closed }), 421);
  assert.equal(statusOf("", at("admin.w.test", true), { demand: closed }), 0);
  // The demand is younger than the connection.
  assert.equal(statusOf("admin.w.test", at("admin.w.test"), { demand }), 403);
});
