/** Modules act in the order of their table, and only those that are concerned. */
import assert from "node:assert/strict";
import { Fields } from "../../src/http/fields.ts";
import { RequestHead, ResponseHead } from "../../src/http/message.ts";
import { type HttpModule, ModuleChain } from "../../src/modules/module.ts";
import { makeModules, MODULES } from "../../src/modules/table.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (of: Uint8Array) => new TextDecoder().decode(of);

function head(): RequestHead {
  return new RequestHead({ method: "POST", version: 11, target: "/", fields: new Fields() });
}

/** Marks everything that passes with its name. */
function marker(name: string, parts: readonly string[] = ["body", "trailers"]): HttpModule {
  return {
    name,
    begin: () => ({
      requestHead: (request) => request.fields.append("x-mark", name),
      requestBody: () => (piece, end) => bytes(text(piece) + name + (end ? "." : "")),
      responseHead(response) {
        response.fields.append("x-mark", name);
        if (!parts.includes("body")) return null;
        return {
          body: (piece, end) => bytes(text(piece) + name + (end ? "." : "")),
          ...(parts.includes("trailers") ? { trailers: () => bytes(`<${name}>`) } : {}),
        };
      },
    }),
  };
}

Deno.test("each module sees what the former left", () => {
  const runs = new ModuleChain([marker("a"), marker("b")]).begin(head())!;
  const request = head();
  runs.requestHead(request);
  assert.deepEqual(request.fields.getAll("x-mark"), ["a", "b"]);
  const body = runs.requestBody()!;
  assert.equal(text(body(bytes("1"), false)), "1ab");
  assert.equal(text(body(bytes("2"), true)), "2a.b.");
  const response = new ResponseHead(200);
  const filter = runs.responseHead(response)!;
  assert.deepEqual(response.fields.getAll("x-mark"), ["a", "b"]);
  assert.equal(text(filter.body(bytes("3"), true)), "3a.b.");
});

Deno.test("content that one makes of trailers goes through those behind it", () => {
  const only = (parts: string[][]) =>
    new ModuleChain(parts.map((one, i) => marker("ab"[i]!, one))).begin(head())!
      .responseHead(new ResponseHead(200))!.trailers!(new Fields());
  assert.equal(text(only([["body", "trailers"], ["body"]])!), "<a>b.");
  assert.equal(text(only([["body"], ["body", "trailers"]])!), "<b>");
  assert.equal(only([["body"], ["body"]]), null);
});

Deno.test("who is not concerned costs nothing, and nobody concerned is null", () => {
  const idle: HttpModule = { name: "idle", begin: () => null };
  const blind: HttpModule = { name: "blind", begin: () => ({}) };
  assert.equal(new ModuleChain([idle]).begin(head()), null);
  const runs = new ModuleChain([idle, blind]).begin(head())!;
  assert.equal(runs.requestBody(), null);
  assert.equal(runs.responseHead(new ResponseHead(200)), null);
  assert.equal(makeModules([]), null);
  assert.deepEqual(MODULES.map(({ name }) => name), ["grpc_web"]);
});
