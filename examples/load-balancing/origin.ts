/**
 * Three upstream servers, on ports 3000 to 3002. Each says its name, can be told to fail by `POST /fail` and to work
 * again by `POST /heal`, and says at `/healthz` which of the two it is.
 */
for (const [port, name] of [[3000, "one"], [3001, "two"], [3002, "three"]] as const) {
  let works = true;
  Deno.serve({
    hostname: "127.0.0.1",
    port,
    onListen: ({ hostname, port }) => console.log(`origin ${name} is ready on ${hostname}:${port}`),
  }, ({ method, url }) => {
    const { pathname } = new URL(url);
    if (method === "POST" && (pathname === "/fail" || pathname === "/heal")) {
      works = pathname === "/heal";
      return new Response(`${name} ${works ? "works" : "fails"} from now on.\n`);
    }
    if (!works) return new Response("broken\n", { status: 500 });
    return new Response(`Hello from ${name}.\n`);
  });
}
