/**
 * How the program is, in plain data.
 *
 * @module
 */
import deno from "../../../deno.json" with { type: "json" };
import type { WorkerStatus } from "../supervisor.ts";
import type { ProgramState } from "./probes.ts";
import type { ProgramMetrics } from "./program_metrics.ts";

/** What `GET /status` tells. */
export interface ProgramStatus {
  readonly version: string;
  readonly deno: string;
  readonly pid: number;
  readonly state: ProgramState;
  /** RFC 3339. */
  readonly started_at: string;
  readonly uptime_seconds: number;
  readonly config: {
    /** From 1; each reload that succeeds adds one. */
    readonly generation: number;
    readonly last_load_successful: boolean;
    readonly last_success_at: string;
  };
  readonly listeners: readonly { readonly name: string; readonly address: string }[];
  readonly workers: readonly {
    readonly id: string;
    readonly state: WorkerStatus["state"];
    readonly restarts: number;
    readonly uptime_seconds: number | null;
    /** Since it was last heard of: each says once a second that it is alive. */
    readonly heartbeat_age_seconds: number | null;
    /** Connections of clients that it has, as it last said. */
    readonly connections: number | null;
    /** Requests and tunnels that something is still done for. */
    readonly requests: number | null;
    /** Editions of the config before the one that serves that have some of these left. */
    readonly retired_editions: number | null;
  }[];
  readonly plugins: readonly { readonly name: string; readonly state: string }[];
}

/** What {@linkcode programStatus} is made from. */
export interface StatusParts {
  readonly state: ProgramState;
  readonly metrics: ProgramMetrics;
  readonly listeners: ProgramStatus["listeners"];
  readonly edges: readonly { readonly workers: readonly WorkerStatus[] }[];
  readonly plugins: ProgramStatus["plugins"];
}

/** Puts it together. */
export function programStatus(parts: StatusParts): ProgramStatus {
  const { state, metrics, listeners, edges, plugins } = parts;
  const { successful, succeededAt } = metrics.lastReload;
  const uptime = performance.now();
  return {
    version: deno.version,
    deno: Deno.version.deno,
    pid: Deno.pid,
    state,
    started_at: new Date(Date.now() - uptime).toISOString(),
    uptime_seconds: Math.round(uptime) / 1000,
    config: {
      generation: metrics.generation,
      last_load_successful: successful,
      last_success_at: new Date(succeededAt).toISOString(),
    },
    listeners,
    workers: edges.flatMap((edge) => edge.workers.map(workerOf)),
    plugins: plugins.map(({ name, state }) => ({ name, state })),
  };
}

/** A worker in the words of the interface. */
function workerOf(status: WorkerStatus): ProgramStatus["workers"][number] {
  const seconds = (ms: number | null) => ms === null ? null : Math.round(ms) / 1000;
  return {
    id: status.id,
    state: status.state,
    restarts: status.restarts,
    uptime_seconds: seconds(status.uptime),
    heartbeat_age_seconds: seconds(status.silence),
    connections: status.load?.connections ?? null,
    requests: status.load?.requests ?? null,
    retired_editions: status.load?.retiredEditions ?? null,
  };
}
