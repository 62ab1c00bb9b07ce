import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { messageOf, TargetError } from "../errors.ts";

/** Certificates and key of a TLS connection to the engine, as PEM. */
export interface TlsFiles {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

const REMEDY = "DOCKER_CERT_PATH must contain ca.pem, cert.pem and key.pem, issued by the engine's CA";

/**
 * Reads and parses ca.pem, cert.pem and key.pem. A wrong file would otherwise fail later, in a TLS handshake whose error
 * does not name the file. Expiry is not checked here: the handshake reports it.
 *
 * @param folder DOCKER_CERT_PATH
 * @throws TargetError "invalid", naming the file
 */
export function readCertificates(folder: string | undefined): TlsFiles {
  if (!folder) {
    const remedy = "set it to the folder with ca.pem, cert.pem and key.pem";
    throw new TargetError("invalid", "TLS is required, but DOCKER_CERT_PATH is not set", { remedy });
  }
  const certificate = (pem: Buffer): X509Certificate => new X509Certificate(pem);
  const ca = readPem(folder, "ca.pem", "certificate", certificate);
  const cert = readPem(folder, "cert.pem", "certificate", certificate);
  const key = readPem(folder, "key.pem", "private key without a passphrase", createPrivateKey);
  if (!cert.value.checkPrivateKey(key.value)) {
    const pair = `${path.join(folder, "key.pem")} is not the key of ${path.join(folder, "cert.pem")}`;
    throw new TargetError("invalid", pair, { remedy: REMEDY });
  }
  return { ca: ca.pem, cert: cert.pem, key: key.pem };
}

function readPem<T>(folder: string, name: string, kind: string, parse: (pem: Buffer) => T): { pem: Buffer; value: T } {
  const file = path.join(folder, name);
  let pem: Buffer;
  try {
    pem = readFileSync(file);
  } catch (cause) {
    throw new TargetError("invalid", `cannot read ${file}: ${messageOf(cause)}`, { remedy: REMEDY, cause });
  }
  try {
    return { pem, value: parse(pem) };
  } catch (cause) {
    throw new TargetError("invalid", `${file} is not a ${kind}: ${messageOf(cause)}`, { remedy: REMEDY, cause });
  }
}
