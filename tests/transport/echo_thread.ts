/**
 * A thread that accepts one connection on a port of its own, which it tells, and sends back what comes.
 *
 * @module
 */
const { postMessage: say } = globalThis as unknown as { postMessage(value: unknown): void };
const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
say(listener.addr.port);
const connection = await listener.accept();
listener.close();
const bytes = new Uint8Array(64);
for (let length = await connection.read(bytes); length !== null;) {
  await connection.write(bytes.subarray(0, length));
  length = await connection.read(bytes);
}
connection.close();
globalThis.close();
