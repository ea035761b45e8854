/**
 * Programs that the bench runs. It installs nothing, but says what it misses.
 *
 * @module
 */

/** What it cannot do without, and the Debian package of each. */
export const NEEDED: readonly (readonly [program: string, debianPackage: string])[] = [
  ["nginx", "nginx-light"],
  ["wrk", "wrk"],
  ["h2load", "nghttp2-client"],
  ["curl", "curl"],
  ["openssl", "openssl"],
  ["taskset", "util-linux"],
];

/** Where a program is, or `null`. A path stands for itself. */
export function findProgram(program: string): string | null {
  // Debian keeps servers out of the path of ordinary users.
  const folders = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"];
  const paths = program.startsWith("/")
    ? [program]
    : folders.map((folder) => `${folder}/${program}`);
  return paths.find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  }) ?? null;
}

/** The packages of programs that are not installed. */
export function missingPackages(
  programs: readonly (readonly [program: string, debianPackage: string])[],
): readonly string[] {
  return [
    ...new Set(programs.filter(([program]) => findProgram(program) === null).map(([, one]) => one)),
  ];
}
