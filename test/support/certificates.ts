/** Certificates for tests of TLS, made by openssl. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const OPENSSL_MS = 20_000;
const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

export interface CertificateSpec {
  /** In the syntax of openssl: `IP:10.0.0.1`, `DNS:engine`. Default: none, as in client certificates. */
  readonly names?: string;
  /** The validity in days from now; negative: expired. Default: 1. */
  readonly days?: number;
  /** The authority that must have signed the other side's certificate. Default: the same authority. */
  readonly trusts?: Authority;
}

/** Signs certificates in a temporary folder. */
export class Authority implements Disposable {
  readonly #folder: string = mkdtempSync(path.join(tmpdir(), "wakeport-test-"));
  #count = 0;

  constructor() {
    const files = ["-keyout", this.#file("ca-key.pem"), "-out", this.certificate];
    openssl("req", "-x509", ...NEW_KEY, "-subj", "/CN=wakeport test CA", "-days", "1", ...files);
  }

  /** Its own certificate, ca.pem. */
  get certificate(): string {
    return this.#file("ca.pem");
  }

  /** A folder with ca.pem, cert.pem and key.pem. */
  issue({ names, days = 1, trusts = this }: CertificateSpec = {}): string {
    this.#count += 1;
    const folder = this.#file(String(this.#count));
    mkdirSync(folder);
    const [key, request, extensions] = ["key.pem", "request.pem", "extensions"].map((name) => path.join(folder, name));
    openssl("req", ...NEW_KEY, "-subj", "/CN=wakeport test", "-keyout", key!, "-out", request!);
    writeFileSync(extensions!, names === undefined ? "extendedKeyUsage=clientAuth" : `subjectAltName=${names}`);
    const signing = ["-CA", this.certificate, "-CAkey", this.#file("ca-key.pem"), "-CAcreateserial"];
    const made = ["-out", path.join(folder, "cert.pem"), "-days", String(days), "-extfile", extensions!];
    openssl("x509", "-req", "-in", request!, ...signing, ...made);
    cpSync(trusts.certificate, path.join(folder, "ca.pem"));
    return folder;
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }

  #file(name: string): string {
    return path.join(this.#folder, name);
  }
}

function openssl(...args: readonly string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"], timeout: OPENSSL_MS });
}
