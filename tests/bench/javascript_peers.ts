/**
 * What people build proxies of in JavaScript: the packages of Node, and Deno's own server with `fetch`.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { Job, Peer } from "./peers.ts";

/** Packages of npm, which the bench does not install. */
export const PACKAGES = ["undici", "http-proxy-3", "fastify", "@fastify/http-proxy"] as const;

const SELF = (pid: number) => [pid];
const script = (name: string) => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));

/** They are compared where they are at their best: HTTP/1 on both sides, in one thread. */
function isFor({ front, h2cOrigin, work, accessLog, workers }: Job): boolean {
  return front === "h1" && h2cOrigin === null && work === "forward" && !accessLog && workers === 1;
}

function ofNode(name: string, packages: string): Peer {
  return {
    name,
    needs: [["node", "nodejs"]],
    command: (job) =>
      Promise.resolve(
        isFor(job)
          ? ["node", script("node_proxy.js"), packages, name, String(job.port), String(job.origin)]
          : null,
      ),
    workers: SELF,
    compiles: true,
  };
}

const ofDeno: Peer = {
  name: "deno fetch",
  needs: [],
  command: (job) =>
    Promise.resolve(
      isFor(job)
        ? [
          ...[Deno.execPath(), "run", "-A", "--no-prompt", "--no-config", script("deno_proxy.ts")],
          ...[String(job.port), String(job.origin)],
        ]
        : null,
    ),
  workers: SELF,
  compiles: true,
};

/**
 * The proxies in JavaScript.
 *
 * @param packages The folder in which `npm install` put {@link PACKAGES}; those of Node are left out without it.
 */
export function javascriptPeers(packages: string | null): readonly Peer[] {
  const node = packages === null
    ? []
    : ["undici", "http-proxy-3", "fastify"].map((name) => ofNode(name, packages));
  return [...node, ofDeno];
}
