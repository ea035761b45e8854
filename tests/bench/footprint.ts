/**
 * What a proxy costs while it does nothing: memory, and the time until it serves.
 *
 * @module
 */
import { type Load, run } from "./load.ts";
import { PEERS } from "./peers.ts";
import type { Scenario } from "./scenarios.ts";
import { setStage, type Target } from "./stage.ts";

/** Figures of one proxy. Bytes are resident memory; time is milliseconds. */
export interface PeerFootprint {
  readonly name: string;
  readonly startup: number;
  readonly idle: number;
  readonly perConnection: number;
}

/** All that is measured. */
export interface Footprint {
  readonly connections: number;
  readonly peers: readonly PeerFootprint[];
  /** Bytes of one more service worker of Sluice. */
  readonly perWorker: number;
}

/** Open connections. Each has a second end in this process, and descriptors are short. */
const CONNECTIONS = 8_000;

const QUIET: Scenario = {
  name: "footprint",
  title: "",
  front: "h1",
  work: "forward",
  load: { tool: "wrk", connections: 1, path: "/small" },
  aim: null,
};

/** New connections, as many as it takes. */
const FIRST_LOAD: Load = { tool: "wrk", connections: 64, path: "/small", fresh: true };

/** Measures. */
export async function measureFootprint(): Promise<Footprint> {
  const peers: PeerFootprint[] = [];
  {
    await using stage = await setStage(QUIET, PEERS);
    for (const target of stage.targets) {
      // What a first load leaves behind, compiled code and a heap that has grown, is no cost of a connection.
      await run(FIRST_LOAD, target.port, 5, stage.folder);
      await hold(target, 200);
      const idle = residentBytes(target);
      peers.push({
        name: target.name,
        startup: target.startup,
        idle,
        perConnection: (await hold(target, CONNECTIONS) - idle) / CONNECTIONS,
      });
    }
  }
  const [one, five] = [await withWorkers(1), await withWorkers(5)];
  return { connections: CONNECTIONS, peers, perWorker: (five - one) / 4 };
}

async function withWorkers(workers: number): Promise<number> {
  await using stage = await setStage(
    { ...QUIET, workers },
    PEERS.filter(({ name }) => name === "sluice"),
  );
  return residentBytes(stage.targets[0]!);
}

/** Keeps connections open that have each made one request, and tells the memory then. */
async function hold(target: Target, count: number): Promise<number> {
  const request = new TextEncoder().encode("GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const connections: Deno.Conn[] = [];
  const buffer = new Uint8Array(4096);
  try {
    while (connections.length < count) {
      const connection = await Deno.connect({ hostname: "127.0.0.1", port: target.port });
      connections.push(connection);
      await connection.write(request);
      await connection.read(buffer);
    }
    return residentBytes(target);
  } finally {
    for (const connection of connections) connection.close();
  }
}

function residentBytes({ pids }: Target): number {
  let sum = 0;
  for (const pid of pids()) {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    sum += Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
  }
  return sum;
}
