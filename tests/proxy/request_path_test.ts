import assert from "node:assert/strict";
import { TrustedNetworks } from "../../src/http/trusted_networks.ts";
import {
  checkLoop,
  clientAddress,
  type ForwardPolicy,
  makeUpstreamRequest,
} from "../../src/proxy/request_path.ts";
import { fakeDownstream, type FakeRequest } from "./fake_downstream.ts";

function policy(
  fields: ForwardPolicy["fields"] = "x_forwarded",
  ...trusted: string[]
): ForwardPolicy {
  return { clientCert: "off", fields, trusted: new TrustedNetworks(trusted) };
}

function forwarded(request: FakeRequest, by: ForwardPolicy): [string, string][] {
  const downstream = fakeDownstream(request);
  const source = { downstream, scheme: "http", content: { done: false } };
  return [...makeUpstreamRequest(source, by).fields];
}

Deno.test("the upstream learns who the client is, and by whom the request came", () => {
  assert.deepEqual(forwarded({ fields: [["Host", "a.test"], ["Accept", "*/*"]] }, policy()), [
    ["Host", "a.test"],
    ["Accept", "*/*"],
    ["Via", "1.1 sluice"],
    ["X-Forwarded-For", "192.0.2.7"],
    ["X-Forwarded-Proto", "http"],
    ["X-Forwarded-Host", "a.test"],
  ]);
});

Deno.test("what an untrusted client says of its origin is thrown away", () => {
  const lies: [string, string][] = [
    ["Host", "a.test"],
    ["x-forwarded-for", "10.0.0.1"],
    ["X-Forwarded-Proto", "https"],
    ["X-FORWARDED-HOST", "admin.test"],
    ["X-Forwarded-Port", "443"],
    ["X-Real-IP", "10.0.0.1"],
    ["Forwarded", "for=10.0.0.1"],
    // Servers that make variables of fields (RFC 3875 §4.1.18) read them by the same names.
    ["X_Forwarded_For", "10.0.0.1"],
    ["x-forwarded_proto", "https"],
    ["Client_Cert", ":AAAA:"],
    ["Transfer_Encoding", "chunked"],
  ];
  const sent = forwarded({ fields: lies }, policy("both"));
  assert.deepEqual(sent, [
    ["Host", "a.test"],
    ["Via", "1.1 sluice"],
    ["X-Forwarded-For", "192.0.2.7"],
    ["X-Forwarded-Proto", "http"],
    ["X-Forwarded-Host", "a.test"],
    ["Forwarded", "for=192.0.2.7;proto=http;host=a.test"],
  ]);
});

Deno.test("what a trusted proxy says is kept, and lengthened by its own address", () => {
  const sent = new Map(forwarded({
    remote: "10.1.2.3",
    fields: [
      ["Host", "a.test"],
      ["X-Forwarded-For", "198.51.100.9"],
      ["X-Forwarded-Proto", "https"],
      ["X-Forwarded-Host", "public.test"],
      ["Forwarded", "for=198.51.100.9"],
      ["Via", "2 front"],
    ],
  }, policy("both", "10.0.0.0/8")));
  assert.equal(sent.get("X-Forwarded-For"), "198.51.100.9, 10.1.2.3");
  assert.equal(sent.get("X-Forwarded-Proto"), "https");
  assert.equal(sent.get("X-Forwarded-Host"), "public.test");
  assert.equal(sent.get("Forwarded"), "for=198.51.100.9, for=10.1.2.3;proto=http;host=a.test");
  assert.equal(sent.get("Via"), "2 front, 1.1 sluice");
});

Deno.test("an IPv6 client and a host with a port are quoted in Forwarded", () => {
  const sent = new Map(
    forwarded({ remote: "2001:db8::1", fields: [["Host", "a.test:81"]] }, policy("rfc7239")),
  );
  assert.equal(sent.get("Forwarded"), 'for="[2001:db8::1]";proto=http;host="a.test:81"');
  assert.equal(sent.has("X-Forwarded-For"), false);
});

Deno.test("an upgrade and the wish for trailers are passed on in our own fields", () => {
  const sent = new Map(forwarded({ upgrade: "websocket", acceptsTrailers: true }, policy("off")));
  assert.equal(sent.get("Upgrade"), "websocket");
  assert.equal(sent.get("TE"), "trailers");
  const asked = { version: 20, acceptsTrailers: true } as const;
  assert.equal(new Map(forwarded(asked, policy("off"))).get("TE"), "trailers");
  const upgrade = forwarded({ ...asked, upgrade: "websocket" }, policy("off"));
  assert.equal(new Map(upgrade).has("TE"), false);
});

Deno.test("the client's address is the last one that no trusted proxy vouches for", () => {
  const by = policy("x_forwarded", "10.0.0.0/8", "fd00::/8");
  const of = (remote: string, list?: string) =>
    clientAddress(
      fakeDownstream({
        remote,
        fields: list === undefined ? [] : [["X-Forwarded-For", list]],
      }),
      by,
    );
  assert.equal(of("192.0.2.7", "10.0.0.9"), "192.0.2.7");
  assert.equal(of("10.0.0.1"), "10.0.0.1");
  assert.equal(of("10.0.0.1", "1.2.3.4, 198.51.100.9, 10.9.9.9"), "198.51.100.9");
  assert.equal(of("10.0.0.1", "198.51.100.9:1234"), "198.51.100.9");
  assert.equal(of("fd00::1", "[2001:db8::5]:99"), "2001:db8::5");
  assert.equal(of("10.0.0.1", "evil, <script>"), "10.0.0.1");
  assert.equal(of("10.0.0.1", "10.0.0.2, 10.0.0.3"), "10.0.0.2");
});

Deno.test("a request that has passed here eight times is refused, others are not", () => {
  const via = (hops: number) =>
    fakeDownstream({ fields: [["Via", Array(hops).fill("1.1 sluice").join(", ")]] }).head;
  checkLoop(via(7));
  checkLoop(fakeDownstream({ fields: [["Via", "1.1 other, 1.0 fred (sluice)"]] }).head);
  assert.throws(() => checkLoop(via(8)), { type: "loop_detected", status: 508 });
});
