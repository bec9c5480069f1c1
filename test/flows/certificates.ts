import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Of the machine, and no dependency of ours. */
const program = "openssl";

/** Whether certificates can be made here: with the `openssl` of the machine. */
export function canMakeCertificates(): boolean {
  try {
    execFileSync(program, ["version"], { stdio: "ignore" });
    return true;
  } catch {
    process.stderr.write("SKIPPED: everything about TLS, because there is no openssl on this machine\n");
    return false;
  }
}

export interface Issued {
  readonly certificate: string;
  readonly key: string;
}

export function openssl(...args: readonly string[]): void {
  execFileSync(program, args, { stdio: ["ignore", "ignore", "pipe"] });
}

const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/** A certification authority in a folder of its own files. */
export function createAuthority(folder: string, name: string): Issued {
  const files = { certificate: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
  openssl("req", "-x509", ...key, "-keyout", files.key, "-out", files.certificate, "-days", "2", "-subj", `/CN=${name}`);
  chmodSync(files.key, 0o600);
  return files;
}

/** A certificate for a server at 127.0.0.1, or of a client, good for a day. */
export function issue(folder: string, authority: Issued, name: string, use: "server" | "client"): Issued {
  const files = { certificate: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
  const request = join(folder, `${name}.csr`);
  const extensions = join(folder, `${name}.ext`);
  const names = use === "server" ? "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth" : "extendedKeyUsage=clientAuth";
  writeFileSync(extensions, `basicConstraints=CA:FALSE\n${names}\n`);
  openssl("req", ...key, "-keyout", files.key, "-out", request, "-subj", `/CN=${name}`);
  const signed = ["-CA", authority.certificate, "-CAkey", authority.key, "-CAcreateserial", "-extfile", extensions];
  openssl("x509", "-req", "-in", request, ...signed, "-days", "1", "-out", files.certificate);
  chmodSync(files.key, 0o600);
  return files;
}

export function thumbprintOf({ certificate }: Issued): string {
  return createHash("sha256")
    .update(new X509Certificate(readFileSync(certificate)).raw)
    .digest("base64url");
}
