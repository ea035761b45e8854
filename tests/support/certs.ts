/**
 * Certificates for tests, made by openssl when they are needed and kept for the rest of the run.
 *
 * @module
 */

/** A certificate with its key, both PEM. */
export interface TestCertificate {
  readonly cert: string;
  readonly key: string;
}

/** One root and what it has signed; every certificate also bears 127.0.0.1. */
export interface TestCertificates {
  /** The root as PEM. */
  readonly ca: string;
  /** A root that has signed nothing here. */
  readonly otherCa: string;
  /** For `a.test`. */
  readonly server: TestCertificate;
  /** For `a.test`, signed by the root, but over since 2020. */
  readonly expired: TestCertificate;
  /** For `a.test`, signed by the root, but not valid before 2090. */
  readonly early: TestCertificate;
  /** For a client called `client.test`. */
  readonly client: TestCertificate;
}

/** Whether openssl is there; tests that need certificates are ignored without it. */
export const hasOpenssl: boolean = runs("openssl", ["version"]);

let made: TestCertificates | undefined;

/** Makes the certificates, once. */
export function testCertificates(): TestCertificates {
  made ??= make();
  return made;
}

function make(): TestCertificates {
  const directory = Deno.makeTempDirSync({ prefix: "sluice-certs-" });
  const run = (...args: string[]) => openssl(directory, args);
  const read = (name: string) => Deno.readTextFileSync(`${directory}/${name}`);
  const pair = (name: string): TestCertificate => ({
    cert: read(`${name}.pem`),
    key: read(`${name}.key`),
  });
  try {
    Deno.writeTextFileSync(`${directory}/ca.cnf`, CONFIG);
    Deno.writeTextFileSync(`${directory}/index.txt`, "");
    Deno.writeTextFileSync(`${directory}/serial`, "01\n");
    for (const root of ["ca", "other"]) {
      run(
        "req",
        "-x509",
        ...EC,
        "-keyout",
        `${root}.key`,
        "-out",
        `${root}.pem`,
        "-days",
        "30",
        ...[
          "-subj",
          `/CN=${root} of the tests`,
        ],
      );
    }
    const sign = (name: string, host: string, from: Date, to: Date) => {
      run("req", ...EC, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${host}`);
      Deno.writeTextFileSync(
        `${directory}/${name}.ext`,
        `subjectAltName=DNS:${host},IP:127.0.0.1\n`,
      );
      run(
        "ca",
        "-batch",
        "-notext",
        "-config",
        "ca.cnf",
        "-cert",
        "ca.pem",
        "-keyfile",
        "ca.key",
        ...[
          ...["-in", `${name}.csr`, "-out", `${name}.pem`, "-extfile", `${name}.ext`],
          ...["-startdate", stamp(from), "-enddate", stamp(to)],
        ],
      );
    };
    const day = 24 * 60 * 60 * 1000;
    const now = Date.now();
    sign("server", "a.test", new Date(now - day), new Date(now + 30 * day));
    sign("client", "client.test", new Date(now - day), new Date(now + 30 * day));
    sign("expired", "a.test", new Date("2020-01-01"), new Date("2020-01-02"));
    sign("early", "a.test", new Date("2090-01-01"), new Date("2090-01-02"));
    return {
      ca: read("ca.pem"),
      otherCa: read("other.pem"),
      server: pair("server"),
      expired: pair("expired"),
      early: pair("early"),
      client: pair("client"),
    };
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

const EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

const CONFIG = `
[ca]
default_ca = root
[root]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
`;

/** `20200101000000Z`, the way openssl wants it. */
function stamp(date: Date): string {
  return date.toISOString().replace(/[-:T]/g, "").slice(0, 14) + "Z";
}

function openssl(directory: string, args: string[]): void {
  const { success, stderr } = new Deno.Command("openssl", {
    args,
    cwd: directory,
    stdout: "null",
    stderr: "piped",
  }).outputSync();
  if (!success) throw new Error(`openssl ${args[0]}: ${new TextDecoder().decode(stderr)}`);
}

function runs(command: string, args: string[]): boolean {
  try {
    return new Deno.Command(command, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}
