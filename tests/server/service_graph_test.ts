import assert from "node:assert/strict";
import { type Service, ServiceGraph, ServiceGraphError } from "../../src/server/service_graph.ts";

function service(log: string[], name: string, dependsOn: string[] = [], fails = false): Service {
  return {
    name,
    dependsOn,
    start: async () => {
      log.push(`start ${name}`);
      await Promise.resolve();
      if (fails) throw new Error(`${name} is broken`);
      log.push(`ready ${name}`);
    },
    stop: () => {
      log.push(`stop ${name}`);
      return Promise.resolve();
    },
  };
}

Deno.test("a service starts when what it depends on is ready, and stops before it", async () => {
  const log: string[] = [];
  const graph = new ServiceGraph();
  graph.add(service(log, "edge", ["plugins", "origin"]));
  graph.add(service(log, "origin"));
  graph.add(service(log, "plugins"));
  await graph.start();
  assert.deepEqual([...graph.ready].sort(), ["edge", "origin", "plugins"]);
  assert.ok(log.indexOf("start edge") > log.indexOf("ready plugins"));
  assert.ok(log.indexOf("start edge") > log.indexOf("ready origin"));
  await graph.stop();
  assert.equal(log.indexOf("stop edge"), 6);
});

Deno.test("when one cannot start, what runs is stopped and the error is told", async () => {
  const log: string[] = [];
  const graph = new ServiceGraph();
  graph.add(service(log, "plugins"));
  graph.add(service(log, "edge", ["plugins"], true));
  await assert.rejects(graph.start(), /edge is broken/);
  assert.deepEqual(log, ["start plugins", "ready plugins", "start edge", "stop plugins"]);
  assert.deepEqual(graph.ready, []);
});

Deno.test("circles, unknown names and taken names are refused by name", async () => {
  const circle = new ServiceGraph();
  circle.add(service([], "a", ["b"]));
  circle.add(service([], "b", ["a"]));
  await assert.rejects(
    circle.start(),
    new ServiceGraphError("Cannot start services: a, b wait for each other"),
  );
  const unknown = new ServiceGraph();
  unknown.add(service([], "a", ["zebra"]));
  await assert.rejects(unknown.start(), /"a": it depends on "zebra", which does not exist/);
  assert.throws(() => unknown.add(service([], "a")), /the name is taken/);
});
