import { readFileSync } from "node:fs";
import path from "node:path";
import { maskUrl } from "../config/mask.ts";
import { TargetError } from "../errors.ts";
import { readCertificates, type TlsFiles } from "./certificates.ts";

/** The engine's address, as options of an HTTP client. */
export interface EngineHost {
  /** For messages: `unix:///var/run/docker.sock`. */
  readonly url: string;
  readonly socketPath?: string;
  readonly host?: string;
  readonly port?: number;
  readonly tls?: TlsFiles;
  /** A likely reason if no engine answers. */
  readonly hint?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_URL = "unix:///var/run/docker.sock";
const PORT = 2375;
const TLS_PORT = 2376;

const FORMS = 'write it as "unix:///path/to/docker.sock" or "tcp://host:2375"';

/**
 * Parses DOCKER_HOST like the docker command: `unix:///path`, or `tcp://host[:port]` with DOCKER_TLS_VERIFY and
 * DOCKER_CERT_PATH. Contexts of the docker command are not supported.
 *
 * @param configured `docker.host` of the configuration, which overrides the environment
 * @throws TargetError "invalid" for an unsupported form and for unusable certificates
 * @see https://docs.docker.com/reference/cli/docker/#environment-variables
 */
export function parseEngineHost(configured: string | undefined, env: Environment): EngineHost {
  // Compose passes an unset variable as an empty string.
  const url = configured ?? (env["DOCKER_HOST"] || undefined);
  if (url === undefined) return defaultHost(env);
  const shown = maskUrl(url);
  const scheme = /^([a-z]+):\/\//i.exec(url)?.[1]?.toLowerCase();
  switch (scheme) {
    case "unix":
      return parseUnix(url);
    case "tcp":
    case "http":
    case "https":
      return parseTcp(url, scheme, env);
    case "ssh":
      throw invalid(
        `the engine address "${shown}" needs ssh, which wakeport does not support`,
        "forward the socket (ssh -N -L /tmp/docker.sock:/var/run/docker.sock HOST) and use unix:///tmp/docker.sock",
      );
    case "npipe":
      throw invalid(
        `the engine address "${shown}" is a Windows pipe, which wakeport does not support`,
        "run wakeport in a Linux container and mount /var/run/docker.sock",
      );
    default:
      throw invalid(`the engine address "${shown}" has an unknown form`, FORMS);
  }
}

function defaultHost(env: Environment): EngineHost {
  const context = env["DOCKER_CONTEXT"];
  if (context && context !== "default") {
    throw invalid(
      `DOCKER_CONTEXT=${context} is not supported`,
      `set DOCKER_HOST or docker.host to its address: docker context inspect ${context}`,
    );
  }
  const current = currentContext(env);
  const hint = `the docker command uses its context "${current}" here, which wakeport does not use`;
  return { url: DEFAULT_URL, socketPath: pathIn(DEFAULT_URL), ...(current !== undefined && { hint }) };
}

/** Returns the context of `docker context use`, or undefined for the default context. */
function currentContext(env: Environment): string | undefined {
  const folder = env["DOCKER_CONFIG"] || (env["HOME"] && path.join(env["HOME"], ".docker"));
  if (!folder) return undefined;
  try {
    const settings: unknown = JSON.parse(readFileSync(path.join(folder, "config.json"), "utf8"));
    if (typeof settings !== "object" || settings === null || !("currentContext" in settings)) return undefined;
    const { currentContext: name } = settings;
    return typeof name === "string" && name !== "" && name !== "default" ? name : undefined;
  } catch {
    // The file does not exist, or has another format.
    return undefined;
  }
}

function parseUnix(url: string): EngineHost {
  const socketPath = pathIn(url);
  if (!socketPath.startsWith("/")) {
    throw invalid(
      `the engine address "${url}" has no absolute path`,
      "write three slashes: unix:///path/to/docker.sock",
    );
  }
  return { url, socketPath };
}

function pathIn(url: string): string {
  return url.slice("unix://".length);
}

function parseTcp(url: string, scheme: "tcp" | "http" | "https", env: Environment): EngineHost {
  const shown = maskUrl(url);
  // The scheme is replaced, because a URL with the scheme http omits an explicit port 80.
  const parsed = URL.parse(url.replace(/^[a-z]+:/i, "tcp:"));
  if (parsed === null || parsed.hostname === "") {
    const remedy = `${FORMS}; write an IPv6 address in brackets: tcp://[fd00::1]:2375`;
    throw invalid(`the engine address "${shown}" is not valid`, remedy);
  }
  const { hostname, port, pathname, search, hash, username, password } = parsed;
  if (!["", "/"].includes(pathname) || search !== "" || hash !== "" || username !== "" || password !== "") {
    throw invalid(`the engine address "${shown}" contains more than a host and a port`, FORMS);
  }
  if (port === "0") throw invalid(`the engine address "${shown}" has port 0, on which nothing can listen`, FORMS);
  const wantsTls = scheme === "https" || (scheme === "tcp" && Boolean(env["DOCKER_TLS_VERIFY"]));
  const number = port === "" ? (wantsTls ? TLS_PORT : PORT) : Number(port);
  const host = hostname.replace(/^\[|\]$/g, "");
  return { url, host, port: number, ...(wantsTls && { tls: readCertificates(env["DOCKER_CERT_PATH"]) }) };
}

function invalid(message: string, remedy: string): TargetError {
  return new TargetError("invalid", message, { remedy });
}
