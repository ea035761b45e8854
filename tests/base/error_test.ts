import assert from "node:assert/strict";
import { ERROR_TYPES, ProxyError } from "../../src/base/error.ts";

Deno.test("the status comes from the table unless the error has its own", () => {
  assert.equal(new ProxyError("connect_timeout", "x").status, 504);
  assert.equal(new ProxyError("http_status", "x", { status: 451 }).status, 451);
  assert.equal(new ProxyError("client_closed", "x", { status: 0 }).status, 0);
});

Deno.test("the source is filled in once and then stays", () => {
  const error = new ProxyError("read_error", "x");
  assert.equal(error.source, "unset");
  assert.equal(error.from("upstream").from("downstream").source, "upstream");
});

Deno.test("reused-only is decided by whether the connection was reused, plain answers are not", () => {
  for (const reused of [true, false]) {
    const open = new ProxyError("read_error", "x", { retry: "reused-only" });
    open.decideRetry(reused);
    assert.equal(open.retry, reused);
    const never = new ProxyError("read_error", "x");
    never.decideRetry(reused);
    assert.equal(never.retry, false);
  }
});

Deno.test("wrapping keeps a ProxyError as it is and fills in its source", () => {
  const inner = new ProxyError("read_error", "inner", { retry: true });
  assert.equal(ProxyError.wrap(inner, "internal_error", "outer", "upstream"), inner);
  assert.equal(inner.source, "upstream");
  const wrapped = ProxyError.wrap(new TypeError("boom"), "internal_error", "outer", "internal");
  assert.equal(wrapped.type, "internal_error");
  assert.equal((wrapped.cause as Error).message, "boom");
});

Deno.test("an explanation names every cause once and ends even for a circle", () => {
  const cause = new Error("low level");
  const middle = new ProxyError("connect_error", "middle", { cause });
  const top = new ProxyError("no_upstream", "top", { cause: middle });
  assert.equal(
    top.explain(),
    "no_upstream: top; caused by connect_error: middle; caused by Error: low level",
  );
  const circle = new Error("round");
  circle.cause = circle;
  assert.equal(
    new ProxyError("internal_error", "top", { cause: circle }).explain(),
    "internal_error: top; caused by Error: round",
  );
});

Deno.test("every error type has a status that can be sent, or none at all", () => {
  for (const [type, { status }] of Object.entries(ERROR_TYPES)) {
    assert.ok(status === 0 || (status >= 400 && status <= 599), type);
  }
});
