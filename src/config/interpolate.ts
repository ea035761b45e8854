/**
 * `${NAME}`, `${NAME:-default}` and `${file:/path}` inside the scalars of the config.
 *
 * @module
 */

/** Where values come from. */
export interface InterpolationSources {
  /** The value of an environment variable, or `undefined`. */
  readonly env: (name: string) => string | undefined;
  /**
   * The text of a file, one newline at its end taken off.
   *
   * @throws If it cannot be read.
   */
  readonly file: (path: string) => string;
}

/** What went wrong, and where in the text. */
export interface InterpolationProblem {
  readonly message: string;
  readonly remedy: string;
  /** Offset in the text. */
  readonly at: number;
  readonly length: number;
}

/** The result of {@linkcode interpolate}. */
export interface Interpolated {
  readonly value: string;
  /** Whether anything was put in; the value is then not to be shown. */
  readonly changed: boolean;
  /** What came from the environment and from files. */
  readonly secrets: readonly string[];
  readonly problems: readonly InterpolationProblem[];
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Puts in what the references stand for. `$$` is one `$`; a `$` before anything but `{` is itself. What is put
 * in is not looked through again.
 */
export function interpolate(text: string, sources: InterpolationSources): Interpolated {
  if (!text.includes("$")) return { value: text, changed: false, secrets: [], problems: [] };
  const problems: InterpolationProblem[] = [];
  const secrets: string[] = [];
  const noted: InterpolationSources = {
    env: (name) => note(sources.env(name), secrets),
    file: (path) => note(sources.file(path), secrets),
  };
  let value = "";
  let changed = false;
  for (let i = 0; i < text.length;) {
    const c = text[i]!;
    if (c !== "$") {
      value += c;
      i++;
    } else if (text[i + 1] === "$") {
      value += "$";
      i += 2;
    } else if (text[i + 1] !== "{") {
      value += "$";
      i++;
    } else {
      const end = text.indexOf("}", i);
      if (end < 0) {
        problems.push({
          message: "a reference is not closed",
          remedy: 'end it with "}", or write "$$" for a "$"',
          at: i,
          length: text.length - i,
        });
        break;
      }
      const put = resolve(text.slice(i + 2, end), noted);
      if (typeof put === "string") {
        value += put;
        changed = true;
      } else problems.push({ ...put, at: i, length: end + 1 - i });
      i = end + 1;
    }
  }
  return { value, changed, secrets, problems };
}

function note<T extends string | undefined>(value: T, secrets: string[]): T {
  if (value !== undefined && value !== "") secrets.push(value);
  return value;
}

function resolve(
  reference: string,
  sources: InterpolationSources,
): string | { message: string; remedy: string } {
  if (reference.startsWith("file:")) {
    const path = reference.slice(5);
    if (path === "") {
      return { message: "a file reference has no path", remedy: "write ${file:/run/secrets/key}" };
    }
    try {
      return sources.file(path);
    } catch (error) {
      const why = error instanceof Error ? error.name : "Error";
      return {
        message: `file ${JSON.stringify(path)} cannot be read (${why})`,
        remedy: "check the path, which is relative to the config file, and who may read it",
      };
    }
  }
  const mark = reference.indexOf(":-");
  const name = mark < 0 ? reference : reference.slice(0, mark);
  if (!NAME.test(name)) {
    return {
      message: `${JSON.stringify(name)} is not the name of an environment variable`,
      remedy: 'write ${NAME}, ${NAME:-default} or ${file:/path}, or "$$" for a "$"',
    };
  }
  const found = sources.env(name);
  // As in a shell: with `:-`, an empty variable counts as one that is not set.
  if (mark >= 0) return found === undefined || found === "" ? reference.slice(mark + 2) : found;
  if (found === undefined) {
    return {
      message: `environment variable ${name} is not set`,
      remedy: `set it, or give a default: \${${name}:-default}`,
    };
  }
  return found;
}
