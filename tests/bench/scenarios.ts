/**
 * What is measured. A scenario is one entry here.
 *
 * @module
 */
import type { Load } from "./load.ts";
import type { Job } from "./peers.ts";

/** One row of the table. */
export interface Scenario {
  readonly name: string;
  /** For people. */
  readonly title: string;
  readonly front: Job["front"];
  readonly work: Job["work"];
  readonly load: Load;
  /** What is spoken with the origin by those who can. Default `h1`. */
  readonly back?: "h1" | "h2c";
  /** Default 1, on a processor of its own; with more, nothing is pinned. */
  readonly workers?: number;
  readonly accessLog?: boolean;
  /** Bytes moved per request, for a figure per GB. Default: none. */
  readonly bytes?: number;
  /** The most that Sluice may cost, as a ratio to nginx, for people; `null` where there is no aim. */
  readonly aim: number | null;
  /** Whether `--quick` measures it. */
  readonly quick?: boolean;
  /** Whether proxies in JavaScript are measured as well. */
  readonly javascript?: boolean;
}

const KIB = 1024;
const MIB = KIB * KIB;

const wrk = (connections: number, path: string, more: Partial<Load> = {}): Load => ({
  tool: "wrk",
  connections,
  path,
  ...more,
});
const h2 = (connections: number, streams: number, tls: boolean): Load => ({
  tool: "h2load",
  connections,
  streams,
  path: "/small",
  tls,
});
const plain = { front: "h1", work: "forward" } as const;

/** Every scenario. */
export const SCENARIOS: readonly Scenario[] = [
  { name: "small-1", title: "small GET, 1 connection", ...plain, load: wrk(1, "/small"), aim: 1.5 },
  {
    name: "small-64",
    title: "small GET, 64 connections",
    ...plain,
    load: wrk(64, "/small"),
    aim: 1.25,
    quick: true,
    javascript: true,
  },
  {
    name: "small-256",
    title: "small GET, 256 connections",
    ...plain,
    load: wrk(256, "/small"),
    aim: 1.25,
  },
  {
    name: "post-1k",
    title: "POST of 1 KiB, 64 connections",
    ...plain,
    load: wrk(64, "/sink", { upload: KIB }),
    aim: 1.35,
  },
  {
    name: "fresh",
    title: "a new connection per request, 32 at a time",
    ...plain,
    load: wrk(32, "/small", { fresh: true }),
    aim: 1.3,
  },
  {
    name: "down-100k",
    title: "download of 100 KiB, 16 connections",
    ...plain,
    load: wrk(16, "/100k"),
    bytes: 100 * KIB,
    aim: 0.65,
    javascript: true,
  },
  {
    name: "down-10m",
    title: "download of 10 MiB, 4 connections",
    ...plain,
    load: wrk(4, "/10m"),
    bytes: 10 * MIB,
    aim: 0.5,
  },
  {
    name: "up-100k",
    title: "upload of 100 KiB, 16 connections",
    ...plain,
    load: wrk(16, "/sink", { upload: 100 * KIB }),
    bytes: 100 * KIB,
    aim: null,
  },
  {
    name: "up-10m",
    title: "upload of 10 MiB, 4 connections",
    ...plain,
    load: wrk(4, "/sink", { upload: 10 * MIB }),
    bytes: 10 * MIB,
    aim: null,
  },
  {
    name: "answer",
    title: "an answer of a rule, without an upstream, 64 connections",
    front: "h1",
    work: "answer",
    load: wrk(64, "/small"),
    aim: 1.2,
    quick: true,
  },
  {
    name: "log",
    title: "small GET with an access log, 64 connections",
    ...plain,
    accessLog: true,
    load: wrk(64, "/small"),
    aim: null,
  },
  {
    name: "workers-2",
    title: "small GET, 2 workers, 64 connections, nothing pinned",
    ...plain,
    workers: 2,
    load: wrk(64, "/small"),
    aim: null,
  },
  {
    name: "tls-64",
    title: "small GET over TLS, 64 connections",
    front: "tls",
    work: "forward",
    load: wrk(64, "/small", { tls: true }),
    aim: 1.05,
  },
  {
    name: "tls-handshake",
    title: "a TLS handshake per request, 32 at a time",
    front: "tls",
    work: "forward",
    load: wrk(32, "/small", { tls: true, fresh: true }),
    aim: 1,
  },
  {
    name: "tls-10m",
    title: "download of 10 MiB over TLS, 4 connections",
    front: "tls",
    work: "forward",
    load: wrk(4, "/10m", { tls: true }),
    bytes: 10 * MIB,
    aim: 0.6,
  },
  {
    name: "h2c-8x32",
    title: "small GET by HTTP/2, 8 connections of 32 streams",
    front: "h2c",
    work: "forward",
    load: h2(8, 32, false),
    aim: 0.75,
    quick: true,
  },
  {
    name: "h2-8x32",
    title: "small GET by HTTP/2 over TLS, 8 connections of 32 streams",
    front: "h2",
    work: "forward",
    load: h2(8, 32, true),
    aim: 0.8,
  },
  {
    name: "h2c-64x1",
    title: "small GET by HTTP/2, 64 connections of 1 stream",
    front: "h2c",
    work: "forward",
    load: h2(64, 1, false),
    aim: 1,
  },
  {
    name: "h2c-h2c-8x32",
    title: "small GET by HTTP/2 to an HTTP/2 origin (nginx: HTTP/1), 8 connections of 32 streams",
    front: "h2c",
    back: "h2c",
    work: "forward",
    load: h2(8, 32, false),
    aim: 0.75,
  },
  {
    name: "hook-inline",
    title: "a request and a response hook, inline, 64 connections",
    front: "h1",
    work: "inline",
    load: wrk(64, "/small"),
    aim: 1.31,
  },
  {
    name: "hook-worker",
    title: "a request and a response hook in a sandbox, 64 connections",
    front: "h1",
    work: "worker",
    load: wrk(64, "/small"),
    aim: 1.35,
  },
  {
    name: "hook-process",
    title: "a request and a response hook in a process, 64 connections",
    front: "h1",
    work: "process",
    load: wrk(64, "/small"),
    aim: null,
  },
  {
    name: "hook-five",
    title: "five plugins in sandboxes, 64 connections",
    front: "h1",
    work: "five",
    load: wrk(64, "/small"),
    aim: null,
  },
];
