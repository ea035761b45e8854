/**
 * A certificate authority for tests: signs for the names a test wants, with openssl.
 *
 * @module
 */

/** Files of a certificate and its key, as PEM. */
export interface Signed {
  readonly cert: string;
  readonly key: string;
}

/** An authority in a temporary folder, which goes with it. */
export class Authority implements Disposable {
  /** The root as PEM. */
  readonly ca: string;
  readonly #directory: string;
  #count = 0;

  constructor() {
    this.#directory = Deno.makeTempDirSync({ prefix: "sluice-ca-" });
    this.#openssl("req", "-x509", ...KEY, "-keyout", "ca.key", "-out", "ca.pem", ...[
      ...["-days", "2", "-subj", "/CN=Root of the tests"],
    ]);
    this.ca = this.#read("ca.pem");
  }

  /** Signs a certificate for DNS names or IP addresses. */
  sign(...names: string[]): Signed {
    return this.signFor(names, "");
  }

  /** Signs a certificate with further extensions, as openssl spells them. */
  signFor(names: readonly string[], extensions: string): Signed {
    const id = `cert${this.#count++}`;
    const alternatives = names.map((name) => /^[\d.]+$/.test(name) ? `IP:${name}` : `DNS:${name}`);
    Deno.writeTextFileSync(
      `${this.#directory}/${id}.ext`,
      `subjectAltName=${alternatives.join(",")}\n${extensions}\n`,
    );
    this.#openssl("req", ...KEY, "-keyout", `${id}.key`, "-out", `${id}.csr`, "-subj", "/CN=test");
    this.#openssl("x509", "-req", "-in", `${id}.csr`, "-CA", "ca.pem", "-CAkey", "ca.key", ...[
      ...["-CAcreateserial", "-out", `${id}.pem`, "-days", "2", "-extfile", `${id}.ext`],
    ]);
    return { cert: this.#read(`${id}.pem`), key: this.#read(`${id}.key`) };
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#directory, { recursive: true });
  }

  #read(name: string): string {
    return Deno.readTextFileSync(`${this.#directory}/${name}`);
  }

  #openssl(...args: string[]): void {
    const { success, stderr } = new Deno.Command("openssl", {
      args,
      cwd: this.#directory,
      stdout: "null",
      stderr: "piped",
    }).outputSync();
    if (!success) throw new Error(`openssl ${args[0]}: ${new TextDecoder().decode(stderr)}`);
  }
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
