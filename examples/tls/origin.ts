/** Says which host was asked for, and by whom. */
Deno.serve({
  hostname: "127.0.0.1",
  port: 3000,
  onListen: ({ hostname, port }) => console.log(`origin is ready on ${hostname}:${port}`),
}, (request) => {
  const host = request.headers.get("x-forwarded-host")?.replace(/:.*/, "");
  const certificate = request.headers.has("client-cert") ? ", with a certificate" : "";
  return new Response(`Hello ${request.headers.get("x-client")}, this is ${host}${certificate}.\n`);
});
