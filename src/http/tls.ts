import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import type { Stats } from "node:fs";
import type { Server, ServerOptions } from "node:https";
import type { Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import { SetupError } from "../core/setup-error.ts";

/** Paths of PEM files. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
  /** Authorities whose client certificates are accepted. One is asked for then, and never required. */
  readonly clientCa?: string | undefined;
}

export interface TlsParts {
  readonly files: TlsFiles;
  readonly now: () => number;
  readonly logger: { error(facts: object, message: string): void };
  /** Milliseconds between two looks at the files. Looking works on every file system, and where links are swapped. */
  readonly every?: number;
}

export interface ClientCertificate {
  /** SHA-256 of the certificate, base64url (RFC 8705 section 3.1). */
  readonly thumbprint: string;
  /** End of its time, milliseconds since the epoch. */
  readonly until: number;
}

export interface Tls {
  readonly options: ServerOptions;
  /** Takes up certificates that change on disk, until `stop`. A pair that cannot be used is logged, and the one before stays. */
  follow(server: Server): void;
  stop(): void;
  /** The certificate of the other end, where the authorities in force vouch for it and it is in its time. */
  certificateOf(socket: Socket): ClientCertificate | undefined;
}

interface Loaded {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca?: Buffer;
}

const largest = 1 << 20;

/** TLS 1.2 or later. Throws `SetupError` when the files cannot be used. */
export function createTls({ files, now, logger, every = 1_000 }: TlsParts): Tls {
  let loaded = load(files, now());
  let seen = signature(files);
  let tried = seen;
  let timer: NodeJS.Timeout | undefined;
  /** Under which authorities a certificate was accepted: when these change, connections from before prove nothing. */
  const accepted = new WeakMap<Socket, { readonly certificate: ClientCertificate; readonly ca: Buffer }>();

  function contextOptions({ cert, key, ca }: Loaded) {
    return { cert, key, ...(ca ? { ca } : {}), minVersion: "TLSv1.2" as const };
  }

  /** Waits until the files have rested for one look: a certificate and its key are not replaced in one instant. */
  function look(server: Server): void {
    const current = signature(files);
    const rested = current === seen;
    seen = current;
    if (!rested || current === tried) return;
    tried = current;
    try {
      const next = load(files, now());
      if (loaded.ca && next.ca?.equals(loaded.ca)) next.ca = loaded.ca;
      server.setSecureContext(contextOptions(next));
      loaded = next;
    } catch (err) {
      logger.error({ err }, "the TLS certificate changed and cannot be used as it is; the one before stays");
    }
  }

  return {
    options: {
      ...contextOptions(loaded),
      // Who shows a certificate that nobody vouches for is a client without one.
      requestCert: loaded.ca !== undefined,
      rejectUnauthorized: false,
    },

    follow(server) {
      timer = setInterval(() => look(server), every).unref();
      server.on("secureConnection", (socket) => {
        const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined;
        if (certificate === undefined || loaded.ca === undefined) return;
        const thumbprint = createHash("sha256").update(certificate.raw).digest("base64url");
        accepted.set(socket, { certificate: { thumbprint, until: Date.parse(certificate.validTo) }, ca: loaded.ca });
      });
    },

    stop: () => clearInterval(timer),

    certificateOf(socket) {
      const known = socket instanceof TLSSocket ? accepted.get(socket) : undefined;
      return known !== undefined && known.ca === loaded.ca && now() < known.certificate.until ? known.certificate : undefined;
    },
  };
}

/** Changes whenever one of the files was replaced or written. */
function signature({ certificate, key, clientCa }: TlsFiles): string {
  return [certificate, key, ...(clientCa === undefined ? [] : [clientCa])]
    .map((file) => {
      const stat = statOf(file);
      return stat ? `${stat.ino}:${stat.size}:${stat.mtimeMs}` : "gone";
    })
    .join(" ");
}

/** What cannot be looked at cannot be read either, and reading says why. */
function statOf(file: string): Stats | undefined {
  try {
    return statSync(file);
  } catch {
    return undefined;
  }
}

function load(files: TlsFiles, time: number): Loaded & { ca?: Buffer } {
  const key = readPrivate(files.key);
  const cert = read(files.certificate);
  const certificate = certificateIn(cert, files.certificate);
  let genuine: boolean;
  try {
    genuine = certificate.checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw new SetupError({ file: files.key, what: "is no private key in PEM", fix: "Name the key file, without a passphrase.", cause });
  }
  if (!genuine)
    throw new SetupError({
      file: files.key,
      what: `is not the key of the certificate in ${files.certificate}`,
      fix: "Name the two files that belong together; the server's own certificate comes first.",
    });
  if (time >= Date.parse(certificate.validTo))
    throw new SetupError({ file: files.certificate, what: `expired on ${certificate.validTo}`, fix: "Renew the certificate." });
  if (time < Date.parse(certificate.validFrom))
    throw new SetupError({
      file: files.certificate,
      what: `is not valid before ${certificate.validFrom}`,
      fix: "Check the clock, or take another certificate.",
    });
  if (files.clientCa === undefined) return { cert, key };
  const ca = read(files.clientCa);
  certificateIn(ca, files.clientCa);
  try {
    createSecureContext({ cert, key, ca });
  } catch (cause) {
    throw new SetupError({ file: files.clientCa, what: "cannot be used", fix: "Name a file of CA certificates in PEM.", cause });
  }
  return { cert, key, ca };
}

function certificateIn(pem: Buffer, file: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new SetupError({
      file,
      what: "is no certificate in PEM",
      fix: "Name a file that starts with -----BEGIN CERTIFICATE-----.",
      cause,
    });
  }
}

function readPrivate(file: string): Buffer {
  const mode = statOf(file)?.mode ?? 0;
  if (process.platform !== "win32" && (mode & 0o077) !== 0)
    throw new SetupError({
      file,
      what: `others than its owner have access to it (mode ${(mode & 0o777).toString(8).padStart(4, "0")})`,
      fix: "Run: chmod 600 on it.",
    });
  return read(file);
}

function read(file: string): Buffer {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    const missing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    throw new SetupError({ file, what: missing ? "does not exist" : "cannot be read", fix: "Correct server.tls.", cause });
  }
  if (bytes.length > largest) throw new SetupError({ file, what: `is longer than ${largest} bytes`, fix: "Correct server.tls." });
  return bytes;
}
