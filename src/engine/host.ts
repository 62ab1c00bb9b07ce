import { readFileSync } from "node:fs";
import path from "node:path";
import { TargetError } from "../errors.ts";

/** How to reach the engine, in the terms of an HTTP client. */
export interface EngineHost {
  /** For people: `unix:///var/run/docker.sock`. */
  readonly url: string;
  readonly socketPath?: string;
  readonly host?: string;
  readonly port?: number;
  readonly tls?: { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer };
}

const DEFAULT_URL = "unix:///var/run/docker.sock";
const PORT = 2375;
const TLS_PORT = 2376;

/**
 * Reads what DOCKER_HOST means, as the docker CLI does: `unix:///path`, `tcp://host[:port]`, with DOCKER_TLS_VERIFY
 * and DOCKER_CERT_PATH for the latter.
 *
 * @param configured `docker.host` of the configuration, which goes before the environment
 * @throws TargetError "invalid" for a form that wakeport does not speak, or for certificates that cannot be read
 * @see https://docs.docker.com/reference/cli/docker/#environment-variables
 */
export function parseEngineHost(
  configured: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): EngineHost {
  if (configured === undefined && env["DOCKER_HOST"] === undefined && env["DOCKER_CONTEXT"] !== undefined) {
    throw invalid(
      `DOCKER_CONTEXT=${env["DOCKER_CONTEXT"]} is not followed`,
      "set DOCKER_HOST or docker.host to its address",
    );
  }
  const url = configured ?? (env["DOCKER_HOST"] || DEFAULT_URL);
  if (url.startsWith("unix://")) return { url, socketPath: url.slice("unix://".length) };
  if (!/^(tcp|http|https):\/\//.test(url)) {
    const remedy = 'use "unix:///path/to/docker.sock" or "tcp://host:2375"; for ssh, forward the socket with ssh -L';
    throw invalid(`the engine address "${url}" is of an unknown form`, remedy);
  }
  return parseTcp(url, env);
}

function parseTcp(url: string, env: Readonly<Record<string, string | undefined>>): EngineHost {
  if (!URL.canParse(url)) throw invalid(`the engine address "${url}" cannot be read`, 'write it as "tcp://host:2375"');
  // Only special schemes have host and port parsed the way we need.
  const { hostname, port, protocol } = new URL(url.replace(/^tcp:/, "http:"));
  const host = hostname.replace(/^\[|\]$/g, "");
  const wantsTls = protocol === "https:" || Boolean(env["DOCKER_TLS_VERIFY"]);
  const number = port === "" ? (wantsTls ? TLS_PORT : PORT) : Number(port);
  return { url, host, port: number, ...(wantsTls && { tls: readCertificates(env["DOCKER_CERT_PATH"]) }) };
}

function readCertificates(directory: string | undefined): NonNullable<EngineHost["tls"]> {
  if (directory === undefined)
    throw invalid(
      "TLS is asked for, but DOCKER_CERT_PATH is not set",
      "set it to the folder with ca.pem, cert.pem and key.pem",
    );
  const read = (name: string): Buffer => {
    try {
      return readFileSync(path.join(directory, name));
    } catch (cause) {
      throw invalid(
        `cannot read ${path.join(directory, name)}`,
        "DOCKER_CERT_PATH must hold ca.pem, cert.pem and key.pem",
        cause,
      );
    }
  };
  return { ca: read("ca.pem"), cert: read("cert.pem"), key: read("key.pem") };
}

function invalid(message: string, remedy: string, cause?: unknown): TargetError {
  return new TargetError("invalid", message, { remedy, cause });
}
