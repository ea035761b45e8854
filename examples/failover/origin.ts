/** The second upstream: says its name. */
Deno.serve({
  hostname: "127.0.0.1",
  port: 3002,
  onListen: ({ hostname, port }) => console.log(`origin is ready on ${hostname}:${port}`),
}, () => new Response("Hello from the second upstream.\n"));
