/**
 * What a proxy costs while it does nothing: memory, and the time until it serves.
 *
 * @module
 */
import { type Load, run } from "./load.ts";
import { PEERS } from "./peers.ts";
import type { Scenario } from "./scenarios.ts";
import { setStage, type Target } from "./stage.ts";

/** Bytes in memory. */
export interface Memory {
  /** All pages that are mapped: those of the program's file, too, which it shares with other processes. */
  readonly resident: number;
  /** Of these, what is in no file and so nobody else's. */
  readonly own: number;
}

/** Figures of one proxy. Bytes are resident memory; time is milliseconds. */
export interface PeerFootprint {
  readonly name: string;
  readonly startup: number;
  /** After it has started. */
  readonly started: Memory;
  /** After a load, with a few connections. */
  readonly idle: Memory;
  readonly perConnection: number;
}

/** All that is measured. */
export interface Footprint {
  readonly connections: number;
  readonly peers: readonly PeerFootprint[];
  /** One more service worker of Sluice, which has served nobody. */
  readonly perWorker: Memory;
}

/** Open connections. Each has a second end in this process, and descriptors are short. */
const CONNECTIONS = 8_000;

/** How often Sluice is started to weigh a service worker. */
const STARTS = 4;

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
      const started = memoryOf(target);
      // What a first load leaves behind, compiled code and a heap that has grown, is no cost of a connection.
      await run(FIRST_LOAD, target.port, 5, stage.folder);
      await hold(target, 200);
      const idle = memoryOf(target);
      const full = await hold(target, CONNECTIONS);
      peers.push({
        name: target.name,
        startup: target.startup,
        started,
        idle,
        perConnection: (full.resident - idle.resident) / CONNECTIONS,
      });
    }
  }
  const [one, five] = [await withWorkers(1), await withWorkers(5)];
  const perWorker = {
    resident: (five.resident - one.resident) / 4,
    own: (five.own - one.own) / 4,
  };
  return { connections: CONNECTIONS, peers, perWorker };
}

/** The least of some starts: how far the young generation of the main thread grows meanwhile is chance. */
async function withWorkers(workers: number): Promise<Memory> {
  const seen: Memory[] = [];
  while (seen.length < STARTS) {
    await using stage = await setStage(
      { ...QUIET, workers },
      PEERS.filter(({ name }) => name === "sluice"),
    );
    seen.push(memoryOf(stage.targets[0]!));
  }
  return seen.reduce((least, memory) => memory.own < least.own ? memory : least);
}

/** Keeps connections open that have each made one request, and tells the memory then. */
async function hold(target: Target, count: number): Promise<Memory> {
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
    return memoryOf(target);
  } finally {
    for (const connection of connections) connection.close();
  }
}

function memoryOf({ pids }: Target): Memory {
  let resident = 0;
  let own = 0;
  for (const pid of pids()) {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    const bytes = (name: string) =>
      Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) * 1024;
    resident += bytes("VmRSS");
    own += bytes("RssAnon");
  }
  return { resident, own };
}
