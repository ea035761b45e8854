/**
 * Replaces strings in the text that upstreams send, also where a string is cut by the border of two pieces.
 *
 * Nothing is held back but what could be the beginning of a search. Left alone are responses of other types,
 * in another charset than UTF-8, compressed, partial, marked `no-transform`, or longer than `max_bytes`; of a
 * response whose length nobody knows beforehand, only the first `max_bytes` are rewritten. The upstream is
 * asked for plain, whole text, so `Accept-Encoding` and `Range` of the client do not reach it.
 *
 * Without `replace`, nothing is changed. Even so, every response passes through the plugin: name it on the
 * routes that need it, rather than have it run everywhere.
 *
 * ```yaml
 * plugins:
 *   - use: body-rewrite
 *     when: { path: /docs/* }
 *     with:
 *       replace:
 *         - { find: "http://internal.example", with: "https://www.example.com" }
 * ```
 *
 * @module
 */
import { definePlugin } from "@sluice/plugin";
import { z } from "zod";
import { isEligible, weakTag } from "./eligible.ts";
import { makeReplacer, replaceIn } from "./replacer.ts";

const REST_VAR = "body-rewrite.rest";
const LEFT_VAR = "body-rewrite.left";
/** Most output for one piece: below what a sandbox may hand over. */
const MAX_OUTPUT = 4 * 1024 * 1024;
/** Fields that describe the bytes as the upstream sent them. */
const STALE = ["accept-ranges", "content-md5", "digest", "content-digest", "repr-digest"];

const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();

const text = (least: number) => z.string().min(least).max(4096);

const config = z.strictObject({
  /** What to search, and what to put in its place. At each place the first that fits is taken. */
  replace: z.array(z.strictObject({ find: text(1), with: text(0) })).max(64).default([]),
  /** Media types: `text/html`, `text/*`. */
  types: z.array(
    z.string().regex(/^[a-z0-9.+-]+\/(?:\*|[a-z0-9.+-]+)$/, "must be a media type, in lower case"),
  ).min(1).default(["text/*", "application/json", "application/javascript", "application/xml"]),
  /** Bytes of a response that are rewritten at most. */
  max_bytes: z.int().min(1).max(1024 ** 3).default(8 * 1024 * 1024),
});

export default definePlugin({
  name: "body-rewrite",
  version: "1.0.0",
  config,
  setup: ({ config }) => {
    const replacements = config.replace.map((one) => ({
      search: encoder.encode(one.find),
      replace: encoder.encode(one.with),
    }));
    return replacements.length === 0 ? null : makeReplacer(replacements);
  },
  upstreamRequestFilter(session, { state }) {
    if (state === null) return;
    const { headers } = session.upstreamRequest;
    headers.delete("accept-encoding");
    headers.delete("range");
    headers.delete("if-range");
  },
  responseFilter(session, { config, state }) {
    if (state === null) return session.response.skipBody();
    const { status, headers } = session.response;
    const eligible = isEligible({
      status,
      contentType: headers.get("content-type"),
      contentEncoding: headers.get("content-encoding"),
      contentLength: headers.get("content-length"),
      cacheControl: headers.get("cache-control"),
    }, { types: config.types, maxBytes: config.max_bytes });
    if (!eligible) return session.response.skipBody();
    session.vars.set(REST_VAR, NOTHING);
    session.vars.set(LEFT_VAR, config.max_bytes);
    const tag = headers.get("etag");
    if (tag !== null) headers.set("etag", weakTag(tag));
    for (const name of STALE) headers.delete(name);
  },
  responseBodyFilter(session, { state }, chunk, end) {
    const rest = session.vars.get(REST_VAR);
    const left = session.vars.get(LEFT_VAR);
    if (state === null || !(rest instanceof Uint8Array) || typeof left !== "number") return;
    // Beyond the bound the rest goes out as it is, after what was held back.
    const inBounds = chunk.length <= left;
    const piece = inBounds ? chunk : chunk.subarray(0, left);
    const result = replaceIn(state, rest, piece, end || !inBounds, MAX_OUTPUT);
    if (!inBounds) {
      session.vars.delete(REST_VAR);
      const whole = new Uint8Array(result.output.length + chunk.length - left);
      whole.set(result.output);
      whole.set(chunk.subarray(left), result.output.length);
      return whole;
    }
    session.vars.set(REST_VAR, result.rest);
    session.vars.set(LEFT_VAR, left - chunk.length);
    return result.output.length === 0 ? null : result.output;
  },
});
