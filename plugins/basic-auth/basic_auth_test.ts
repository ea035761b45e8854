import assert from "node:assert/strict";
import fc from "fast-check";
import { serveOrigin, startWithPlugin } from "../../tests/support/first_party.ts";
import { readCredentials } from "./credentials.ts";
import plugin from "./mod.ts";
import {
  hashPassword,
  MIN_ITERATIONS,
  parsePasswordHash,
  type PasswordHash,
  sameBytes,
  verifyPassword,
} from "./password_hash.ts";
import { protectPaths } from "./protected_paths.ts";
import { Verifier } from "./verifier.ts";

const basic = (user: string, password: string) =>
  `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(`${user}:${password}`)))}`;

async function hashOf(password: string): Promise<PasswordHash> {
  return parsePasswordHash(await hashPassword(password, MIN_ITERATIONS)) as PasswordHash;
}

Deno.test("a hash is of its password and of no other, and two of one password differ", async () => {
  const text = await hashPassword("crème brûlée", MIN_ITERATIONS);
  assert.match(text, /^\$pbkdf2-sha256\$i=100000\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
  const hash = parsePasswordHash(text) as PasswordHash;
  assert.equal(await verifyPassword("crème brûlée", hash), true);
  assert.equal(await verifyPassword("crème brûlée".normalize("NFD"), hash), true);
  assert.equal(await verifyPassword("creme brulee", hash), false);
  assert.equal(await verifyPassword("", hash), false);
  assert.notEqual(await hashPassword("crème brûlée", MIN_ITERATIONS), text);
});

Deno.test("hashes are those of PBKDF2 as others compute it", async () => {
  // Made by Python: hashlib.pbkdf2_hmac("sha512", b"password", b"saltsalt", 100000, 32)
  const hash = parsePasswordHash(
    "$pbkdf2-sha512$i=100000$c2FsdHNhbHQ$yl9A+WYl/cdMJk4k+cR0duy2+ZSMyis0deswmxZS3+o",
  ) as PasswordHash;
  assert.equal(await verifyPassword("password", hash), true);
});

Deno.test("parsePasswordHash() refuses what is none, and does not quote it", () => {
  for (
    const text of [
      "",
      "secret",
      "$2y$05$abcdefghijklmnopqrstuv",
      "$pbkdf2-sha1$i=600000$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
      "$pbkdf2-sha256$i=1000$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
      "$pbkdf2-sha256$i=99999999$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
      "$pbkdf2-sha256$i=600000$AAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
      "$pbkdf2-sha256$i=600000$AAAAAAAAAAAAAAAA$AAAA",
      "$pbkdf2-sha256$i=600000$AAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ]
  ) {
    const result = parsePasswordHash(text);
    assert.equal(typeof result, "string", text);
    if (text !== "") assert.ok(!(result as string).includes(text), text);
  }
  fc.assert(fc.property(fc.string(), (text) => {
    parsePasswordHash(text);
  }));
});

Deno.test("sameBytes() tells bytes apart", () => {
  assert.equal(sameBytes(new Uint8Array([1, 2]), new Uint8Array([1, 2])), true);
  assert.equal(sameBytes(new Uint8Array([1, 2]), new Uint8Array([1, 3])), false);
  assert.equal(sameBytes(new Uint8Array([1, 2]), new Uint8Array([1])), false);
});

Deno.test("readCredentials() reads what RFC 7617 allows, once", () => {
  assert.deepEqual(readCredentials([basic("Aladdin", "open sesame")]), {
    user: "Aladdin",
    password: "open sesame",
  });
  assert.deepEqual(readCredentials(["BASIC  YTpiOmM="]), { user: "a", password: "b:c" });
  assert.deepEqual(readCredentials(["basic YTpiOmM"]), { user: "a", password: "b:c" });
  assert.deepEqual(readCredentials([basic("ä", "€")]), { user: "ä", password: "€" });
  for (
    const values of [
      [],
      [""],
      ["Basic"],
      ["Basic "],
      ["Bearer YTpi"],
      ["Basic YTpi", "Basic YTpi"],
      ["Basic YTpi, Basic YTpi"],
      [`Basic ${btoa("no colon")}`],
      [`Basic ${btoa("a:b\n")}`],
      [`Basic ${btoa("\xff:b")}`],
      ["Basic YT=pi"],
      ["Basic A"],
      [`Basic ${"YTpi".repeat(1000)}`],
    ]
  ) assert.equal(readCredentials(values), null, JSON.stringify(values).slice(0, 60));
  fc.assert(fc.property(fc.array(fc.string()), (values) => {
    readCredentials(values);
  }));
  fc.assert(
    fc.property(
      fc.stringMatching(/^[^:\p{Cc}\ud800-\udfff]{0,40}$/u),
      fc.string(),
      (user, word) => {
        const password = word.replace(/\p{Cc}/gu, "").toWellFormed();
        assert.deepEqual(readCredentials([basic(user, password)]), { user, password });
      },
    ),
  );
});

Deno.test("a guarded path is guarded however it is spelled", () => {
  const isGuarded = protectPaths(["/private/*", "/metrics"]);
  for (
    const path of [
      "/private",
      "/private/",
      "/private/x",
      "/Private/x",
      "//private/x",
      "/./private/x",
      "/x/../private/x",
      "/x/..;/private/x",
      "/%70rivate/x",
      "/%2570rivate/x",
      "/x/%2e%2e/private/x",
      "/x/..%2fprivate/x",
      "/x\\..\\private/x",
      "/%5cprivate/x",
      "/private;v=1/x",
      "/private%2fx",
      "/private/../private/x",
      "/private/../public",
      "/metrics",
      "/metrics/",
      "/METRICS;x",
      "/%6d%65trics",
    ]
  ) assert.equal(isGuarded(path), true, path);
  for (const path of ["/", "/public", "/privateer", "/x/private", "/metrics/x", "/metricss", "*"]) {
    assert.equal(isGuarded(path), false, path);
  }
  assert.equal(protectPaths(["/*"])("*"), true);
  fc.assert(fc.property(fc.string(), (tail) => {
    assert.equal(isGuarded(`/private/${tail}`), true);
  }));
});

Deno.test("protectPaths() takes time that grows with the path alone", () => {
  const isGuarded = protectPaths(["/private/*"]);
  let least = Infinity;
  for (let i = 0; i < 3; i++) {
    const before = performance.now();
    isGuarded(`/${"%25".repeat(20_000)}`);
    isGuarded(`/${"../;/".repeat(10_000)}`);
    least = Math.min(least, performance.now() - before);
  }
  assert.ok(least < 2_000, `${least} ms`);
});

Deno.test("a password that was right is not hashed again until its time is over", async () => {
  let time = 0;
  const verifier = new Verifier({
    users: new Map([["ada", await hashOf("right")]]),
    keep: 1000,
    entries: 2,
    parallel: 1,
    waiting: 0,
    now: () => time,
  });
  assert.equal(await verifier.check({ user: "ada", password: "right" }), true);
  // There is one place, and nobody may wait: of two that must be hashed, one is turned away. What is known is
  // answered all the same.
  const [known, ...hashed] = await Promise.all([
    verifier.check({ user: "ada", password: "right" }),
    verifier.check({ user: "ada", password: "wrong" }),
    verifier.check({ user: "eve", password: "right" }),
  ]);
  assert.equal(known, true);
  assert.deepEqual(hashed.sort(), [false, null]);
  time = 1001;
  const again = await Promise.all([
    verifier.check({ user: "ada", password: "right" }),
    verifier.check({ user: "ada", password: "other" }),
  ]);
  assert.ok(again.includes(null), "the verdict was kept for too long");
});

Deno.test("guesses are bounded, and do not push out those who got in", async () => {
  const verifier = new Verifier({
    users: new Map([["ada", await hashOf("right")]]),
    keep: 60_000,
    entries: 3,
    parallel: 1,
    waiting: 0,
    now: () => 0,
  });
  assert.equal(await verifier.check({ user: "ada", password: "right" }), true);
  for (let i = 0; i < 5; i++) {
    assert.equal(await verifier.check({ user: "ada", password: `wrong ${i}` }), false);
    assert.ok(verifier.size <= 3);
  }
  // The only place is taken: an answer can only come from memory.
  const busy = verifier.check({ user: "ada", password: "wrong again" });
  assert.equal(await verifier.check({ user: "ada", password: "right" }), true);
  assert.equal(await busy, false);
});

Deno.test("user and password are kept apart", async () => {
  const verifier = new Verifier({
    users: new Map([["ab", await hashOf("c")]]),
    keep: 60_000,
    entries: 10,
  });
  assert.equal(await verifier.check({ user: "ab", password: "c" }), true);
  assert.equal(await verifier.check({ user: "a", password: "bc" }), false);
});

Deno.test("a config with plain passwords is refused", async () => {
  const result = await plugin.config!["~standard"].validate({ users: { ada: "hunter2" } });
  assert.equal(result.issues?.length, 1);
  assert.match(result.issues![0]!.message, /is not a password hash/);
  assert.ok(!result.issues![0]!.message.includes("hunter2"));
});

Deno.test("only who knows the password gets in, and the upstream does not see it", async () => {
  const seen: (string | null)[] = [];
  await using origin = serveOrigin((request) => {
    seen.push(request.headers.get("authorization"));
    return new Response("ok");
  });
  await using sluice = await startWithPlugin({
    plugin: "basic-auth",
    with: {
      realm: 'Staff "only"',
      paths: ["/admin/*"],
      users: { ada: await hashPassword("right", MIN_ITERATIONS) },
      strip_credentials: true,
    },
    upstreams: { main: origin.port },
  });
  const ask = async (path: string, authorization?: string) => {
    const response = await fetch(`${sluice.url}${path}`, {
      headers: authorization === undefined ? {} : { authorization },
    });
    await response.body?.cancel();
    return response;
  };
  const open = await ask("/", basic("other", "scheme"));
  assert.equal(open.status, 200);
  assert.deepEqual(seen.splice(0), [basic("other", "scheme")]);
  const asked = await ask("/admin/x");
  assert.equal(asked.status, 401);
  assert.equal(
    asked.headers.get("www-authenticate"),
    'Basic realm="Staff \\"only\\"", charset="UTF-8"',
  );
  assert.equal(asked.headers.get("cache-control"), "no-store");
  for (
    const wrong of [basic("ada", "wrong"), basic("eve", "right"), basic("", ""), "Bearer x"]
  ) assert.equal((await ask("/admin/x", wrong)).status, 401, wrong);
  assert.equal((await ask("/%61dmin/x")).status, 401);
  assert.deepEqual(seen, []);
  for (let i = 0; i < 3; i++) {
    assert.equal((await ask("/admin/x", basic("ada", "right"))).status, 200);
  }
  assert.deepEqual(seen, [null, null, null]);
});

Deno.test("no spelling of a guarded path reaches the upstream", async () => {
  await using origin = serveOrigin(() => new Response("reached"));
  await using sluice = await startWithPlugin({
    plugin: "basic-auth",
    with: { paths: ["/admin/*"] },
    upstreams: { main: origin.port },
  });
  const ask = async (target: string) => {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port: sluice.port() });
    const request = `GET ${target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n`;
    await connection.write(new TextEncoder().encode(request));
    let answer = "";
    for await (const text of connection.readable.pipeThrough(new TextDecoderStream())) {
      answer += text;
    }
    return answer;
  };
  assert.match(await ask("/open"), /^HTTP\/1\.1 200 [^]*reached/);
  for (
    const target of [
      "/admin",
      "//admin/x",
      "/open/../admin/x",
      "/open/%2e%2e/admin/x",
      "/open/..%2Fadmin/x",
      "/%2561dmin/x",
      "/ADMIN/x",
      "/admin;a=b/x",
      "/admin?x",
      "/./admin/x",
      "http://a.test/admin/x",
      "http://a.test//admin/x",
    ]
  ) assert.match(await ask(target), /^HTTP\/1\.1 40[01] (?![^]*reached)/, target);
});

Deno.test("without config, /private is closed to everybody and all else is open", async () => {
  await using origin = serveOrigin(() => new Response("ok"));
  await using sluice = await startWithPlugin({
    plugin: "basic-auth",
    upstreams: { main: origin.port },
  });
  const status = async (path: string) => {
    const response = await fetch(`${sluice.url}${path}`, {
      headers: { authorization: basic("admin", "admin") },
    });
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await status("/"), 200);
  assert.equal(await status("/privateer"), 200);
  assert.equal(await status("/private"), 401);
  assert.equal(await status("/private/x"), 401);
});

Deno.test("hash_password.ts prints the hash of what it reads", async () => {
  const script = new URL("hash_password.ts", import.meta.url).pathname;
  const run = async (text: string) => {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", script],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
    const { code, stdout } = await child.output();
    return { code, out: new TextDecoder().decode(stdout).trim() };
  };
  const { code, out } = await run("pass word\r\n");
  assert.equal(code, 0);
  assert.equal(await verifyPassword("pass word", parsePasswordHash(out) as PasswordHash), true);
  assert.deepEqual(await run("\n"), { code: 2, out: "" });
});
