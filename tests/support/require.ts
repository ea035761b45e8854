/**
 * Tests that need a program which may not be installed: ignored with the reason and the remedy in their name.
 *
 * @module
 */

/** Programs that tests use, and the Debian package each comes from. */
const PACKAGES = {
  nginx: "nginx-light",
  curl: "curl",
  openssl: "openssl",
  haproxy: "haproxy",
  nghttp: "nghttp2-client",
  h2load: "nghttp2-client",
  nghttpd: "nghttp2-server",
  chromium: "chromium",
  python3: "python3-minimal",
  prlimit: "util-linux",
} as const;

/** A program that tests may need. */
export type Program = keyof typeof PACKAGES;

const missing = new Set<Program>();
const found = new Map<Program, string | null>();

/** The path of a program, or `null` if it is not installed. */
export function findProgram(program: Program): string | null {
  const known = found.get(program);
  if (known !== undefined) return known;
  // Debian keeps nginx out of the path of ordinary users.
  const folders = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"];
  const path = folders.map((folder) => `${folder}/${program}`).find(isFile) ?? null;
  found.set(program, path);
  return path;
}

/**
 * `Deno.test` for a test that needs programs.
 *
 * @param programs What it needs; without one of them the test is ignored, and its name says why.
 */
export function testWith(
  programs: readonly Program[],
  name: string,
  test: (context: Deno.TestContext) => void | Promise<void>,
): void {
  const absent = programs.filter((program) => findProgram(program) === null);
  if (absent.length === 0) {
    Deno.test(name, test);
    return;
  }
  const packages = absent.map((program) => PACKAGES[program]).join(" ");
  Deno.test({
    name: `${name} (ignored: needs ${absent.join(", ")}; apt-get install ${packages})`,
    ignore: true,
    fn: test,
  });
  for (const program of absent) {
    if (missing.has(program)) continue;
    missing.add(program);
    console.warn(
      `Tests that need ${program} are ignored. To run them: apt-get install ${PACKAGES[program]}`,
    );
  }
}

/** What root must be able to do before all: a container may have taken it away. */
const BECOME = "setpriv --reuid=www-data --regid=www-data --clear-groups true";

/**
 * `Deno.test` for a test that only root can do, on Linux; others ignore it, and its name says why.
 *
 * @param need A command of the shell that succeeds where it can be done. Default: becoming another user.
 */
export function testAsRoot(
  name: string,
  test: (context: Deno.TestContext) => void | Promise<void>,
  need: string = BECOME,
): void {
  const missing = Deno.build.os !== "linux" || Deno.uid() !== 0
    ? "needs Linux and root"
    : succeeds(need)
    ? null
    : `"${need}" fails here`;
  if (missing === null) Deno.test(name, test);
  else Deno.test({ name: `${name} (ignored: ${missing})`, ignore: true, fn: test });
}

function succeeds(command: string): boolean {
  const { success } = new Deno.Command("sh", {
    args: ["-c", command],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).outputSync();
  return success;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
