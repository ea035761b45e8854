/**
 * Pages that are made from tables, formatted like those that are written by hand.
 *
 * @module
 */

/** What `deno fmt` makes of a page. */
export async function formattedPage(page: string): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--quiet", "--ext", "md", "-"],
    cwd: new URL("..", import.meta.url),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(page));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  if (code !== 0) throw new Error(`Cannot format the page: ${decoder.decode(stderr)}`);
  return decoder.decode(stdout);
}
