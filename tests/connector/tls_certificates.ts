/**
 * Certificates that the ones for all tests do not offer: wildcards, underscores, and a client behind an intermediate.
 *
 * @module
 */

/** A certificate chain with its key, as PEM. */
export interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** What {@linkcode moreCertificates} makes. */
export interface MoreCertificates {
  readonly ca: string;
  /** For `*.sub.test` and `exact_name.test`. */
  readonly wildcard: Pair;
  /** A client whose certificate an intermediate has signed, with that one in the chain. */
  readonly client: Pair;
  /** The same without it. */
  readonly bareClient: Pair;
}

let made: MoreCertificates | undefined;

/** Makes the certificates, once. Needs openssl. */
export function moreCertificates(): MoreCertificates {
  return made ??= make();
}

function make(): MoreCertificates {
  const directory = Deno.makeTempDirSync({ prefix: "sluice-more-certs-" });
  const run = (...args: string[]) => {
    const { success, stderr } = new Deno.Command("openssl", {
      args,
      cwd: directory,
      stdout: "null",
      stderr: "piped",
    }).outputSync();
    if (!success) throw new Error(`openssl ${args[0]}: ${new TextDecoder().decode(stderr)}`);
  };
  const read = (name: string) => Deno.readTextFileSync(`${directory}/${name}`);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const sign = (name: string, by: string, extension: string) => {
    run("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    Deno.writeTextFileSync(`${directory}/${name}.ext`, extension);
    run(
      ...["x509", "-req", "-in", `${name}.csr`, "-CA", `${by}.pem`, "-CAkey", `${by}.key`],
      ...["-CAcreateserial", "-out", `${name}.pem`, "-days", "30", "-extfile", `${name}.ext`],
    );
  };
  try {
    run(
      ...["req", "-x509", ...key, "-keyout", "root.key", "-out", "root.pem", "-days", "30"],
      ...["-subj", "/CN=root"],
    );
    sign("between", "root", "basicConstraints=critical,CA:true\nkeyUsage=keyCertSign\n");
    sign("wildcard", "root", "subjectAltName=DNS:*.sub.test,DNS:exact_name.test\n");
    sign("client", "between", "extendedKeyUsage=clientAuth\nsubjectAltName=DNS:client.test\n");
    const bareClient = { cert: read("client.pem"), key: read("client.key") };
    return {
      ca: read("root.pem"),
      wildcard: { cert: read("wildcard.pem"), key: read("wildcard.key") },
      client: { ...bareClient, cert: bareClient.cert + read("between.pem") },
      bareClient,
    };
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}
