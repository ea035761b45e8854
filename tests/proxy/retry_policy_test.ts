import assert from "node:assert/strict";
import { type ErrorSource, type ErrorType, ProxyError } from "../../src/base/error.ts";
import {
  RetryPolicy,
  type RetrySettings,
  type RetrySubject,
} from "../../src/proxy/retry_policy.ts";

const SETTINGS: RetrySettings = {
  attempts: 2,
  on: ["connect_failure", "reset", "timeout"],
  grpcStatuses: [14],
  statuses: [{ from: 502, to: 503 }],
  perTryTimeout: null,
  backoff: { base: 0, cap: 0 },
  budget: { ratio: 1, minPerSecond: 100 },
  nonIdempotent: false,
  bufferBytes: 1024,
};

function policy(more: Partial<RetrySettings> = {}): RetryPolicy {
  return new RetryPolicy({ ...SETTINGS, ...more });
}

interface Parts {
  attempt?: number;
  replays?: number;
  method?: string;
  responded?: boolean;
  replayable?: boolean;
}

function subject(parts: Parts = {}): RetrySubject {
  const { attempt = 1, replays = 0, method = "GET", responded = false, replayable = true } = parts;
  return {
    attempt,
    replays,
    downstream: { responded },
    content: { replayable },
    upstreamRequest: () => ({ method }),
  };
}

function error(type: ErrorType, source: ErrorSource = "upstream"): ProxyError {
  return new ProxyError(type, "Something: happened", { source });
}

Deno.test("each error is tried again by the cause that it belongs to, and by no other", () => {
  const cases: [ErrorType, boolean, RetrySettings["on"][number]][] = [
    ["connect_refused", false, "connect_failure"],
    ["connect_timeout", false, "connect_failure"],
    ["tls_handshake_failure", false, "connect_failure"],
    ["dns_error", false, "connect_failure"],
    ["connection_limit", false, "connect_failure"],
    ["connection_closed", true, "reset"],
    ["read_error", true, "reset"],
    ["write_error", true, "reset"],
    ["incomplete_response", true, "reset"],
    ["first_byte_timeout", true, "timeout"],
    ["first_byte_timeout", false, "timeout"],
    ["read_timeout", true, "timeout"],
  ];
  for (const [type, connected, cause] of cases) {
    for (const on of SETTINGS.on) {
      const allowed = policy({ on: [on] }).allowsError(subject(), error(type), connected);
      assert.equal(allowed, on === cause, `${type} with ${on}`);
    }
  }
});

Deno.test("what is not the upstream's fault, or means nothing a second time, is never tried again", () => {
  const all = policy();
  assert.equal(all.allowsError(subject(), error("connect_refused", "internal"), false), false);
  assert.equal(all.allowsError(subject(), error("client_closed", "downstream"), true), false);
  assert.equal(all.allowsError(subject(), error("circuit_open"), false), false);
  assert.equal(all.allowsError(subject(), error("invalid_response"), true), false);
});

Deno.test("what was sent is sent again only if the method or the operator allows it", () => {
  const reset = error("connection_closed");
  const refused = error("connect_refused");
  for (const method of ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]) {
    assert.equal(policy().allowsError(subject({ method }), reset, true), true, method);
  }
  for (const method of ["POST", "PATCH", "UNKNOWN"]) {
    assert.equal(policy().allowsError(subject({ method }), reset, true), false, method);
    assert.equal(policy().allowsError(subject({ method }), refused, false), true, method);
    assert.equal(policy().allowsStatus(subject({ method }), 503), false, method);
    const bold = policy({ nonIdempotent: true });
    assert.equal(bold.allowsError(subject({ method }), reset, true), true, method);
    assert.equal(bold.allowsStatus(subject({ method }), 503), true, method);
  }
});

Deno.test("a status is tried again if it is listed, and the request can still be sent", () => {
  for (const [status, listed] of [[501, false], [502, true], [503, true], [504, false]] as const) {
    assert.equal(policy().allowsStatus(subject(), status), listed, `${status}`);
  }
  assert.equal(policy().allowsStatus(subject({ replayable: false }), 503), false);
  assert.equal(policy().allowsStatus(subject({ responded: true }), 503), false);
  assert.equal(policy({ statuses: [] }).allowsStatus(subject(), 503), false);
});

Deno.test("a gRPC status is tried again if it is listed, though every call is a POST", () => {
  const wants = policy({ grpcStatuses: [14, 8] });
  assert.equal(wants.allowsGrpc(subject({ method: "POST" }), 14), true);
  assert.equal(wants.allowsGrpc(subject({ method: "POST" }), 13), false);
  assert.equal(wants.allowsGrpc(subject({ method: "POST" }), -1), false);
  assert.equal(wants.allowsGrpc(subject({ method: "POST", replayable: false }), 14), false);
  assert.equal(wants.allowsGrpc(subject({ method: "POST", responded: true }), 14), false);
  assert.equal(wants.allowsGrpc(subject({ method: "POST", attempt: 3 }), 14), false);
  assert.equal(policy({ grpcStatuses: [] }).allowsGrpc(subject(), 14), false);
});

Deno.test("attempts are counted, but not those that made good for a dead pooled connection", () => {
  const allowed = (parts: Parts) =>
    policy().allowsError(subject(parts), error("connection_closed"), true);
  assert.equal(allowed({ attempt: 2 }), true);
  assert.equal(allowed({ attempt: 3 }), false);
  assert.equal(allowed({ attempt: 3, replays: 1 }), true);
  assert.equal(allowed({ attempt: 4, replays: 1 }), false);
  assert.equal(policy({ attempts: 0 }).allowsStatus(subject(), 503), false);
});

Deno.test("the budget is spent by what is allowed, and by nothing else", () => {
  const poor = policy({ budget: { ratio: 0.5, minPerSecond: 0 } });
  const reset = error("connection_closed");
  assert.equal(poor.allowsError(subject(), reset, true), false, "there was no request yet");
  assert.equal(poor.refused, 1);
  for (let i = 0; i < 4; i++) poor.request();
  assert.equal(poor.allowsError(subject({ method: "POST" }), reset, true), false);
  assert.equal(poor.allowsStatus(subject(), 500), false);
  assert.equal(poor.refused, 1, "what is refused for another reason is not counted");
  assert.equal(poor.allowsError(subject(), reset, true), true);
  assert.equal(poor.allowsStatus(subject(), 503), true);
  assert.equal(poor.allowsStatus(subject(), 503), false);
  assert.equal(poor.refused, 2);
});

Deno.test("the wait doubles with each attempt up to its most, and free attempts do not count", () => {
  const patient = policy({ backoff: { base: 100, cap: 300 } });
  const most = (parts: Parts) =>
    Math.max(...Array.from({ length: 400 }, () => patient.delay(subject(parts))));
  const bounds: [Parts, number][] = [
    [{ attempt: 1 }, 100],
    [{ attempt: 2 }, 200],
    [{ attempt: 3 }, 300],
    [{ attempt: 9 }, 300],
    [{ attempt: 2, replays: 1 }, 100],
  ];
  for (const [parts, bound] of bounds) {
    const seen = most(parts);
    assert.ok(seen <= bound && seen > 0.9 * bound, `${JSON.stringify(parts)}: ${seen}`);
  }
  assert.equal(policy().delay(subject()), 0);
});
