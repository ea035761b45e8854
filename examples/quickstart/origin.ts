/** A server to stand behind Sluice: says what it was asked. */
Deno.serve({
  hostname: "127.0.0.1",
  port: 3000,
  onListen: ({ hostname, port }) => console.log(`origin is ready on ${hostname}:${port}`),
}, (request) => {
  const greeting = request.headers.get("x-greeting");
  return new Response(`${request.method} ${new URL(request.url).pathname} greeting=${greeting}\n`);
});
